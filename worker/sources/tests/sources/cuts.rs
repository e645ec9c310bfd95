//! Trouble that passes: cuts, silence, servers that ask to be left alone.

use tokio::sync::watch;
use weir_sources::{Phase, Progress, fetch};

use crate::{
    server::{Act, Page, Server},
    stage::{LIST, MODEL, Stage, fails, repository, resolve, run, weights, weights_page},
};

/// More than one piece of what is written at once.
const BYTES: usize = 3_500_000;

async fn served(acts: &[Act]) -> (Stage, Server, Vec<u8>) {
    let (stage, server) = (Stage::new(), Server::start().await);
    let body = weights(BYTES);
    repository(&server, &body);
    server.acts(&weights_page(), acts);
    (stage, server, body)
}

/// Where each request for the weights began.
fn begins(server: &Server) -> Vec<u64> {
    let asked = server.asked_for(&weights_page());
    let begin = |range: Option<&str>| {
        range.map_or(0, |range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap()
        })
    };
    asked
        .iter()
        .map(|asked| begin(asked.header("range")))
        .collect()
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was_cut() {
    let (stage, server, body) = served(&[Act::Cut(1_000_000), Act::Cut(1_500_000)]).await;
    let fetched = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    let begins = begins(&server);
    assert_eq!(begins.len(), 3);
    assert!(begins[1] > 0 && begins[1] <= 1_000_000, "{begins:?}");
    assert!(begins[2] > begins[1], "{begins:?}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_and_asked_again() {
    let (stage, server, body) = served(&[Act::Silence(1_200_000)]).await;
    let fetched = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    assert_eq!(begins(&server).len(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_resume_sends_all_of_it_again() {
    let (stage, server, body) = served(&[Act::Cut(2_000_000), Act::WithoutRange]).await;
    let (tx, rx) = watch::channel(Progress::default());
    let source = MODEL.parse().unwrap();
    let fetched = fetch(&source, &stage.hub(&server), &tx).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    let progress = rx.borrow();
    assert_eq!(progress.phase, Phase::Complete);
    assert_eq!(progress.done_bytes, BYTES as u64 + 2);
    assert_eq!(progress.percent(), Some(100));
}

#[tokio::test]
async fn a_server_that_cannot_resume_and_cuts_at_the_same_byte_is_given_up() {
    let (stage, server, _) = served(&[]).await;
    server.change(&weights_page(), |page| {
        page.acts = vec![Act::CutWithoutRange(2_000_000); 1000].into();
    });
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "SourceUnavailable", "{error}");
}

#[tokio::test]
async fn overload_is_waited_out() {
    for status in [408, 429, 500, 502, 503, 504] {
        let (stage, server, _) = served(&[Act::Status(status, &[])]).await;
        server.acts(LIST, &[Act::Status(status, &[]), Act::Status(status, &[])]);
        run(MODEL, &stage.hub(&server)).await.unwrap();
        assert_eq!(server.asked_for(LIST).len(), 3, "{status}");
        assert_eq!(begins(&server).len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_more_time_than_there_is_patience_is_given_up_at_once() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let page = Page {
        acts: [Act::Status(429, &[("retry-after", "3600")])].into(),
        ..Page::default()
    };
    server.put(LIST, page);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert!(!error.is_permanent());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_a_second_gets_it() {
    let (stage, server, _) = served(&[]).await;
    server.acts(LIST, &[Act::Status(429, &[("retry-after", "1")])]);
    let began = std::time::Instant::now();
    run(MODEL, &stage.hub(&server)).await.unwrap();
    // Not a speed: less would be a broken promise to the server.
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn nobody_at_the_address_is_said_with_the_hosts_name() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let options = stage.hub(&server);
    let address = server.address.to_string();
    drop(server);
    let error = fails(MODEL, &options).await;
    assert_eq!(error.reason(), "SourceUnavailable");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_download_that_was_dropped_goes_on_where_it_was_dropped() {
    let (stage, server, body) = served(&[Act::Silence(2_500_000)]).await;
    let mut options = stage.hub(&server);
    options.patience.silence = std::time::Duration::from_secs(600);
    let (tx, mut rx) = watch::channel(Progress::default());
    let source = MODEL.parse().unwrap();
    tokio::select! {
        ended = fetch(&source, &options, &tx) => panic!("{ended:?}"),
        seen = rx.wait_for(|progress| progress.done_bytes > 1_000_000) => drop(seen.unwrap()),
    }
    server.forget();
    let fetched = run(MODEL, &options).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    let begins = begins(&server);
    assert!(begins.len() == 1 && begins[0] >= 1_000_000, "{begins:?}");
    assert!(
        server.asked_for(&resolve("config.json")).is_empty(),
        "it was there already"
    );
    let left: Vec<_> = stage.files();
    assert!(
        !left.iter().any(|name| name.starts_with("partial/")),
        "{left:?}"
    );
}

#[tokio::test]
async fn trouble_shows_in_the_progress_while_it_lasts() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let page = Page {
        acts: vec![Act::Status(503, &[]); 1000].into(),
        ..Page::default()
    };
    server.put(LIST, page);
    let (tx, mut rx) = watch::channel(Progress::default());
    let (source, options) = (MODEL.parse().unwrap(), stage.hub(&server));
    tokio::select! {
        ended = fetch(&source, &options, &tx) => panic!("{ended:?}"),
        seen = rx.wait_for(|progress| progress.trouble.is_some()) => {
            let seen = seen.unwrap().clone();
            assert_eq!(seen.phase, Phase::Resolving);
            assert!(seen.to_string().contains("503"), "{seen}");
        }
    }
}
