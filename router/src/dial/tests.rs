//! What is dialled, with lookups that a test answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

fn dialler(allow_loopback: bool, lookup: Lookup) -> Dialler {
    let args = Args {
        allow_loopback,
        ..Args::default()
    };
    // Fails if another test of this binary was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Dialler {
        lookup,
        ..Dialler::new(&args, vec!["10.96.0.1".parse().unwrap()])
    }
}

/// Answers every connection once and closes it; gives its port and how many there were.
async fn server(serving: &mut JoinSet<()>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let asked = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(asked > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    (port, count)
}

#[test]
fn an_address_in_a_url_is_checked_however_it_is_written() {
    let dialler = dialler(false, lookup);
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.01",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "someone:secret@127.0.0.1",
        "localhost",
        "LocalHost.",
        "metadata.localhost",
    ] {
        let url: Url = format!("http://{host}:80/v1").parse().unwrap();
        let checked = dialler.check_literal(Reach::Outside, &url);
        assert!(matches!(checked, Err(Refused::Loopback(_))), "{host}");
    }
    let url: Url = "http://localhost/".parse().unwrap();
    let laptop = self::dialler(true, lookup);
    assert_eq!(laptop.check_literal(Reach::Outside, &url), Ok(()));
    let url: Url = "http://localhost.example/".parse().unwrap();
    assert_eq!(dialler.check_literal(Reach::Outside, &url), Ok(()));
    let url: Url = "https://169.254.169.254/".parse().unwrap();
    assert!(dialler.check_literal(Reach::Outside, &url).is_err());
    let url: Url = "https://10.96.0.1/".parse().unwrap();
    let checked = dialler.check_literal(Reach::Inside, &url);
    assert!(matches!(checked, Err(Refused::ApiServer(_))));
}

/// First this machine, then where credentials are.
fn rebinding(_: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let address = match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 => "127.0.0.1:0",
        _ => "169.254.169.254:0",
    };
    async move { Ok(vec![address.parse().unwrap()]) }.boxed()
}

#[tokio::test]
async fn a_name_is_checked_each_time_it_is_dialled_and_what_is_checked_is_dialled() {
    let mut serving = JoinSet::new();
    let (port, dialled) = server(&mut serving).await;
    let dialler = dialler(true, rebinding);
    let url = format!("http://provider.example:{port}/");
    let client = dialler
        .client(Reach::Outside, Duration::from_secs(5), None)
        .unwrap();
    // No such name exists: only what was looked up here can have been dialled.
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    let error = client.get(&url).send().await.unwrap_err();
    assert!(is_refused(&error), "{error:?}");
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}

fn good_and_bad(_: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
    let both = ["127.0.0.1:0", "100.100.100.200:0"].map(|address| address.parse().unwrap());
    async move { Ok(both.to_vec()) }.boxed()
}

#[tokio::test]
async fn a_name_with_one_bad_address_is_not_dialled_at_all() {
    let mut serving = JoinSet::new();
    let (port, dialled) = server(&mut serving).await;
    let dialler = dialler(true, good_and_bad);
    let client = dialler
        .client(Reach::Outside, Duration::from_secs(5), None)
        .unwrap();
    let url = format!("http://provider.example:{port}/");
    let error = client.get(&url).send().await.unwrap_err();
    assert!(is_refused(&error), "{error:?}");
    assert_eq!(dialled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_api_server_is_known_by_its_address_or_its_name() {
    assert_eq!(
        api_servers(Some("10.96.0.1")).await,
        ["10.96.0.1".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(
        api_servers(Some("[fd00::1]")).await,
        ["fd00::1".parse::<IpAddr>().unwrap()]
    );
    let named = api_servers(Some("localhost")).await;
    assert!(!named.is_empty() && named.iter().all(IpAddr::is_loopback));
    assert!(api_servers(None).await.is_empty());
}

#[test]
fn clients_are_kept_and_not_without_end() {
    let dialler = dialler(true, lookup);
    for millis in 0..2 * MOST_CLIENTS as u64 {
        let connect = Duration::from_millis(millis);
        dialler.client(Reach::Outside, connect, None).unwrap();
        assert!(dialler.clients.lock().unwrap().len() <= MOST_CLIENTS);
    }
}
