//! TLS: whose certificates are trusted, and that nothing leads out of it.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
    server::TlsStream,
};
use weir_sources::Options;

use crate::{
    server::{Page, Server},
    stage::{Stage, fails, repository, run, weights_page},
};

/// An authority of its own for each test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A file with its certificate.
    pub fn bundle(&self, stage: &Stage) -> PathBuf {
        let path = stage.folder.path().join("ca.pem");
        fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // A client that does not trust us leaves here.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A server for `localhost`, with a certificate of `authority`.
pub async fn server(authority: &Authority) -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    Server::on(address, Listener { tcp, tls })
}

#[tokio::test]
async fn an_authority_is_trusted_when_it_is_in_the_bundle_and_else_named_as_the_trouble() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let server = server(&authority).await;
    server.file("/a.gguf", b"GGUF");
    let address = format!("https://localhost:{}/a.gguf", server.address.port());
    let error = fails(&address, &stage.options()).await;
    assert!(error.to_string().contains("is not trusted"), "{error}");
    assert!(error.to_string().contains("caBundle"), "{error}");
    assert!(error.is_permanent());
    let options = Options {
        ca_bundle: Some(authority.bundle(&stage)),
        ..stage.options()
    };
    run(&address, &options).await.unwrap();
}

#[tokio::test]
async fn another_authority_or_another_name_is_not_trusted() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let server = server(&authority).await;
    server.file("/a.gguf", b"GGUF");
    let port = server.address.port();
    let trusting = |authority: &Authority| Options {
        ca_bundle: Some(authority.bundle(&stage)),
        ..stage.options()
    };
    let address = format!("https://localhost:{port}/a.gguf");
    let error = fails(&address, &trusting(&Authority::new())).await;
    assert!(error.to_string().contains("is not trusted"), "{error}");
    let address = format!("https://127.0.0.1:{port}/a.gguf");
    let error = fails(&address, &trusting(&authority)).await;
    assert!(error.to_string().contains("is not trusted"), "{error}");
}

#[tokio::test]
async fn https_never_becomes_http() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let (server, plain) = (server(&authority).await, Server::start().await);
    plain.file("/a.gguf", b"GGUF");
    let page = Page {
        redirect: Some(format!("{}/a.gguf", plain.url())),
        ..Page::default()
    };
    server.put("/a.gguf", page);
    let options = Options {
        ca_bundle: Some(authority.bundle(&stage)),
        ..stage.options()
    };
    let address = format!("https://localhost:{}/a.gguf", server.address.port());
    let error = fails(&address, &options).await;
    assert!(error.to_string().contains("from https to http"), "{error}");
    assert!(plain.asked().is_empty());
}

#[tokio::test]
async fn a_hub_without_tls_may_redirect_to_one_with_it() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let (server, hub) = (server(&authority).await, Server::start().await);
    repository(&hub, b"weights");
    server.file("/blob", b"weights");
    let port = server.address.port();
    hub.change(&weights_page(), |page| {
        page.redirect = Some(format!("https://localhost:{port}/blob"));
    });
    let options = Options {
        ca_bundle: Some(authority.bundle(&stage)),
        ..stage.hub(&hub)
    };
    run(crate::stage::MODEL, &options).await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_is_none_is_named() {
    let stage = Stage::new();
    let path = stage.folder.path().join("ca.pem");
    let options = Options {
        ca_bundle: Some(path.clone()),
        ..stage.options()
    };
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let error = fails("https://h.dev/a.gguf", &options).await;
        assert!(error.to_string().contains("CA bundle"), "{error}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
