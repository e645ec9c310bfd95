//! Which asks are the same, and for how long.

use super::*;

fn ticket(tenant: &str, digest: u8) -> Ticket {
    Ticket {
        tenant: tenant.to_owned(),
        key: "k".to_owned(),
        digest: [digest; 32],
        decision: format!("d-{tenant}"),
        is_stream: false,
    }
}

fn landed(status: StatusCode, bytes: usize) -> Landed {
    Landed {
        status,
        headers: HeaderMap::new(),
        body: vec![b'x'; bytes].into(),
    }
}

fn lead(boarding: Result<Boarding, Refusal>) -> Lead {
    match boarding.unwrap() {
        Boarding::Lead(lead) => lead,
        Boarding::Join { decision, .. } => panic!("joined {decision}"),
    }
}

fn joined(boarding: Result<Boarding, Refusal>) -> (String, Landing) {
    match boarding.unwrap() {
        Boarding::Lead(_) => panic!("leads"),
        Boarding::Join { decision, landing } => (decision, landing),
    }
}

#[tokio::test]
async fn the_same_ask_of_the_same_tenant_joins_and_no_other_does() {
    let (flights, now) = (Arc::new(Flights::default()), Instant::now());
    let first = lead(flights.board(ticket("a", 1), now));
    let (decision, mut landing) = joined(flights.board(ticket("a", 1), now));
    assert_eq!(decision, "d-a");
    let other = flights.board(ticket("a", 2), now).err().unwrap();
    assert!(
        other.to_string().starts_with("idempotency-key: "),
        "{other}"
    );
    let _of_another = lead(flights.board(ticket("b", 1), now));
    first.land(landed(StatusCode::OK, 3), now);
    let told = landing.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(told.unwrap().body.len(), 3);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_while_and_an_error_is_not() {
    let (flights, now) = (Arc::new(Flights::default()), Instant::now());
    lead(flights.board(ticket("a", 1), now)).land(landed(StatusCode::OK, 1), now);
    let (_, landing) = joined(flights.board(ticket("a", 1), now + KEEP / 2));
    assert!(landing.borrow().is_some());
    let again = lead(flights.board(ticket("a", 1), now + KEEP));
    let (_, waits) = joined(flights.board(ticket("a", 1), now + KEEP));
    again.land(landed(StatusCode::BAD_GATEWAY, 1), now);
    let told = waits.borrow().clone().unwrap();
    assert_eq!(told.status, StatusCode::BAD_GATEWAY);
    drop(lead(flights.board(ticket("a", 1), now)));
    assert!(
        flights.shelf().is_empty(),
        "whoever leaves gives the key free"
    );
}

#[tokio::test]
async fn the_oldest_answers_make_room_by_number_and_by_memory_and_asks_in_hand_stay() {
    let (flights, now) = (Arc::new(Flights::default()), Instant::now());
    let tenant = |index: usize| format!("t{index}");
    let in_hand = lead(flights.board(ticket("in hand", 1), now));
    for (index, bytes) in [1, MOST_KEPT_BYTES / 2, MOST_KEPT_BYTES / 2]
        .into_iter()
        .enumerate()
    {
        let at = now + Duration::from_millis(index as u64);
        lead(flights.board(ticket(&tenant(index), 1), at)).land(landed(StatusCode::OK, bytes), at);
    }
    let has = |name: String| flights.shelf().contains_key(&(name, "k".to_owned()));
    assert!(!has(tenant(0)) && has(tenant(1)) && has(tenant(2)));
    for index in 3..MOST_KEPT + 4 {
        lead(flights.board(ticket(&tenant(index), 1), now)).land(landed(StatusCode::OK, 0), now);
    }
    assert_eq!(flights.shelf().len(), MOST_KEPT + 1);
    assert!(has("in hand".to_owned()));
    drop(in_hand);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_abandoned_only_after_a_while() {
    let flights = Arc::new(Flights::default());
    let first = lead(flights.board(ticket("a", 1), Instant::now()));
    let began = Instant::now();
    let landing = first.landing();
    let again = async {
        sleep(LINGER / 2).await;
        drop(landing);
        sleep(LINGER / 2).await;
        let (_, joined) = joined(flights.board(ticket("a", 1), Instant::now()));
        sleep(LINGER).await;
        drop(joined);
    };
    tokio::join!(first.abandoned(), again);
    assert_eq!(began.elapsed(), LINGER * 3);
}

#[test]
fn a_stream_is_not_joined() {
    let (flights, now) = (Arc::new(Flights::default()), Instant::now());
    let stream = Ticket {
        is_stream: true,
        ..ticket("a", 1)
    };
    let first = lead(flights.board(stream.clone(), now));
    assert_eq!(
        flights.board(stream.clone(), now).err(),
        Some(Refusal::InHand)
    );
    drop(first);
    lead(flights.board(stream, now));
}

#[test]
fn a_key_is_short_and_plain() {
    let key = |text: &[u8]| {
        let value = http::HeaderValue::from_bytes(text).unwrap();
        key(&[(http::HeaderName::from_static(HEADER), value)]
            .into_iter()
            .collect())
    };
    assert_eq!(key(b"a-1").unwrap().unwrap(), "a-1");
    assert_eq!(super::key(&HeaderMap::new()).unwrap(), None);
    for wrong in [&b""[..], b" ", b"\xff", &[b'x'; 256]] {
        let refused = key(wrong).unwrap_err().to_string();
        assert!(refused.starts_with("idempotency-key: "), "{refused}");
    }
}
