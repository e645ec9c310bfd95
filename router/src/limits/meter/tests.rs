//! What tenants get of a limit that they share.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTES: u32 = 10;

fn all(worth: f64) -> Bounds {
    Bounds {
        all: Some(worth),
        each: None,
    }
}

fn each(worth: f64) -> Bounds {
    Bounds {
        all: None,
        each: Some(worth),
    }
}

fn take(meter: &mut Meter, tenant: &str, amount: f64, bounds: Bounds, now: Instant) -> bool {
    let may = meter.ask(tenant, amount, bounds, now).is_ok();
    if may {
        meter.take(tenant, amount);
    }
    may
}

/// Asks a minute of each of three tenants, of a limit of 600; how many each of them gets, in the minutes after
/// the first.
fn offered(rates: [u32; 3]) -> [f64; 3] {
    let mut meter = Meter::default();
    let start = Instant::now();
    let mut got = [0_u32; 3];
    for tick in 0..MINUTES * 60_000 {
        let now = start + tick * Duration::from_millis(1);
        for (tenant, rate) in rates.into_iter().enumerate() {
            let asks = |tick: u32| u64::from(tick) * u64::from(rate) / 60_000;
            let is_asking = asks(tick + 1) > asks(tick);
            let name = ["a", "b", "greedy"][tenant];
            let gets = is_asking && take(&mut meter, name, 1.0, all(600.0), now);
            got[tenant] += u32::from(gets && tick >= 60_000);
        }
    }
    got.map(|got| f64::from(got) / f64::from(MINUTES - 1))
}

#[test]
fn a_tenant_at_ten_times_its_share_takes_nothing_from_the_others() {
    let alone = offered([150, 0, 0])[0];
    let [a, b, greedy] = offered([150, 190, 2000]);
    assert!(a >= 0.98 * alone, "{a} of {alone}");
    assert!(b >= 0.98 * 190.0, "{b}");
    let sum = a + b + greedy;
    assert!(
        (590.0..=601.0).contains(&sum),
        "nothing is left over: {sum}"
    );
}

#[test]
fn tenants_that_all_want_more_get_the_same() {
    for got in offered([900, 1500, 6000]) {
        assert!((190.0..=210.0).contains(&got), "{got}");
    }
}

#[test]
fn a_tenant_that_is_alone_has_all_of_it() {
    let [_, _, greedy] = offered([0, 0, 2000]);
    assert!((595.0..=601.0).contains(&greedy), "{greedy}");
}

#[test]
fn a_newcomer_gets_what_comes_back_and_not_whoever_had_its_share() {
    let now = Instant::now();
    let mut meter = Meter::default();
    while take(&mut meter, "greedy", 1.0, all(60.0), now) {}
    assert!(!take(&mut meter, "new", 1.0, all(60.0), now));
    let later = now + SECOND;
    let short = meter.ask("greedy", 1.0, all(60.0), later).unwrap_err();
    assert_eq!(short.wait, SECOND, "by then half of a second's worth twice");
    assert!(take(&mut meter, "new", 1.0, all(60.0), later));
}

#[test]
fn each_tenant_has_its_own_limit() {
    let now = Instant::now();
    let mut meter = Meter::default();
    let mut gets = |tenant| take(&mut meter, tenant, 1.0, each(2.0), now);
    assert_eq!(
        ["a", "a", "a", "b"].map(&mut gets),
        [true, true, false, true]
    );
    let short = meter.ask("a", 1.0, each(2.0), now).unwrap_err();
    assert_eq!((short.whose, short.wait), (Whose::Tenant, 30 * SECOND));
}

#[test]
fn what_was_not_used_is_given_back_and_what_was_used_beyond_is_taken() {
    let now = Instant::now();
    for bounds in [all(100.0), each(100.0)] {
        let mut meter = Meter::default();
        meter.ask("a", 80.0, bounds, now).unwrap();
        let taken = meter.take("a", 80.0);
        assert!(meter.ask("a", 30.0, bounds, now).is_err());
        meter.settle("a", taken, 10.0);
        assert_eq!(meter.rest("a", bounds, now).unwrap().left, 90.0);
        let taken = meter.take("a", 10.0);
        meter.settle("a", taken, 50.0);
        assert_eq!(meter.rest("a", bounds, now).unwrap().left, 40.0);
    }
}

#[test]
fn what_is_given_back_after_another_router_came_is_rescaled() {
    let now = Instant::now();
    let mut meter = Meter::default();
    meter.ask("a", 80.0, all(100.0), now).unwrap();
    let taken = meter.take("a", 80.0);
    assert_eq!(meter.rest("a", all(50.0), now).unwrap().left, 10.0);
    meter.settle("a", taken, 40.0);
    assert_eq!(meter.rest("a", all(50.0), now).unwrap().left, 30.0);
}

#[test]
fn a_large_ask_is_not_kept_waiting_by_small_ones_for_ever() {
    let start = Instant::now();
    let mut meter = Meter::default();
    let mut waited = None;
    for tick in 0..60_000_u32 {
        let now = start + tick * Duration::from_millis(10);
        take(&mut meter, "small", 1.0, all(600.0), now);
        if tick > 6000 && take(&mut meter, "large", 500.0, all(600.0), now) {
            waited = Some(tick - 6000);
            break;
        }
    }
    // Hundredths of seconds.
    assert!(waited.is_some_and(|waited| waited < 7000), "{waited:?}");
}

#[test]
fn tenants_at_rest_are_forgotten_and_beyond_the_most_they_share_one_place() {
    let now = Instant::now();
    let mut meter = Meter::default();
    for tenant in 0..MOST_TENANTS {
        assert!(take(&mut meter, &tenant.to_string(), 1.0, each(1.0), now));
    }
    assert!(take(&mut meter, "late", 1.0, each(1.0), now));
    assert!(!take(&mut meter, "later", 1.0, each(1.0), now));
    assert_eq!(meter.tenants.len(), MOST_TENANTS + 1);
    assert!(take(&mut meter, "new", 1.0, each(1.0), now + 2 * RECENT));
    assert_eq!(meter.tenants.len(), 1);
}
