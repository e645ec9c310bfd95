//! Endpoints with certificates of an authority that only their policy knows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::rig::{Rig, Setup, header, json_of, world};
use crate::worker::{Scripted, unsure};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a server on this machine shows.
    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

/// Takes TLS off what it hands on to `target`.
struct Front {
    port: u16,
    /// What was agreed on for each connection.
    spoken: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Front {
    async fn start(authority: &Authority, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = authority.acceptor();
        let spoken = Arc::<Mutex<Vec<String>>>::default();
        let known = spoken.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known) = (acceptor.clone(), known.clone());
                connections.spawn(async move {
                    // A client that does not trust us leaves here.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                    let agreed = String::from_utf8(agreed.to_vec()).unwrap();
                    known.lock().unwrap().push(agreed);
                    let mut inner = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        Self {
            port,
            spoken,
            _tasks: tasks,
        }
    }

    fn policy(&self, bundle: Value) -> Value {
        let base_url = format!("https://localhost:{}/v1", self.port);
        let endpoint = json!({ "baseUrl": base_url, "caBundle": bundle });
        json!({ "onAllUnsure": "Error", "tiers": [{}, { "endpoint": endpoint }] })
    }
}

/// A router that reads ConfigMaps where it reads Secrets.
async fn rig(worker: &Scripted) -> Rig {
    Rig::start(Setup {
        workers: vec![worker.clone()],
        args: |args| args.config_maps_root = args.secrets_root.clone(),
        ..Setup::default()
    })
    .await
}

fn address(rig: &Rig) -> SocketAddr {
    rig.frontier
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap()
}

fn named() -> Value {
    json!({ "configMapRef": { "name": "authorities", "key": "ca.pem" } })
}

async fn failed(rig: &Rig) -> Value {
    let response = rig.ask(json!({})).await;
    assert_ne!(response.status(), StatusCode::OK);
    json_of(response).await["error"]["code"].clone()
}

#[tokio::test]
async fn an_endpoint_is_trusted_by_the_authorities_of_its_bundle_only() {
    let worker = Scripted::start([unsure()]).await;
    let rig = rig(&worker).await;
    let authority = Authority::new();
    let front = Front::start(&authority, address(&rig)).await;
    let replicas = [worker.address];
    let without = world(front.policy(Value::Null), &rig.frontier, &replicas);
    rig.follow(without).await;
    assert_eq!(failed(&rig).await, "connect");
    rig.write_secret("authorities", "ca.pem", &authority.pem());
    let with = world(front.policy(named()), &rig.frontier, &replicas);
    rig.follow(with).await;
    for _ in 0..3 {
        let response = rig.ask(json!({})).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
        json_of(response).await;
    }
    // One connection carried them all.
    assert_eq!(*front.spoken.lock().unwrap(), ["h2"]);
}

#[tokio::test]
async fn a_bundle_that_changes_or_goes_is_followed_while_the_router_runs() {
    let worker = Scripted::start([unsure()]).await;
    let rig = rig(&worker).await;
    let (ours, other) = (Authority::new(), Authority::new());
    let front = Front::start(&ours, address(&rig)).await;
    let with = world(front.policy(named()), &rig.frontier, &[worker.address]);
    rig.follow(with).await;
    let missing = json!([{
        "policy": "support", "tier": "frontier", "secret": "authorities", "key": "ca.pem",
        "is_config_map": true,
    }]);
    let is_missing = |load: &Value| load["missing_credentials"] == missing;
    let is_found = |load: &Value| load["missing_credentials"] == json!([]);
    rig.until("the bundle is missed", is_missing).await;
    assert_eq!(failed(&rig).await, "no_ca_bundle");
    // An authority that others were signed by is found, and is the wrong one.
    rig.write_secret("authorities", "ca.pem", &other.pem());
    rig.until("a bundle is there", is_found).await;
    assert_eq!(failed(&rig).await, "connect");
    rig.write_secret("authorities", "ca.pem", "no certificate");
    rig.until("it is none", is_missing).await;
    rig.write_secret("authorities", "ca.pem", &(other.pem() + &ours.pem()));
    rig.until("a bundle is there again", is_found).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
}
