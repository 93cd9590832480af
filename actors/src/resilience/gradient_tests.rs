//! The controller of adaptive concurrency alone, against a server with a known number of workers.

use proptest::prelude::*;

use super::*;

/// A server that works on `parallel` calls at once, 10 ms each, with `limit` always in flight.
fn drive(gradient: &mut Gradient, now: &mut Instant, parallel: usize, windows: usize) -> f64 {
    let mut sum = 0.0;
    for _ in 0..windows {
        let limit = gradient.limit();
        let latency = Duration::from_millis(10).mul_f64((limit as f64 / parallel as f64).max(1.0));
        *now += WINDOW.max(latency);
        for _ in 0..SAMPLES_MIN {
            gradient.observe(*now - latency, *now, limit);
        }
        sum += gradient.limit() as f64;
    }
    sum / windows as f64
}

#[test]
fn the_limit_settles_near_what_the_server_bears_and_follows_it() {
    let mut now = Instant::now();
    let mut gradient = Gradient::new(4, 500, now);
    for parallel in [40, 10, 100] {
        // Longer than the base lives, so that it is measured anew on the way.
        drive(&mut gradient, &mut now, parallel, 1000);
        let mean = drive(&mut gradient, &mut now, parallel, 300);
        let knee = parallel as f64;
        assert!(mean >= knee && mean <= knee * 2.0, "{mean} for {parallel}");
    }
}

#[test]
fn the_limit_falls_when_latency_rises_and_comes_back() {
    let mut now = Instant::now();
    let mut gradient = Gradient::new(4, 100, now);
    let well = drive(&mut gradient, &mut now, 50, 100);
    drive(&mut gradient, &mut now, 5, 20);
    let ill = gradient.limit();
    assert!((ill as f64) < well / 3.0, "{ill} of {well}");
    drive(&mut gradient, &mut now, 50, 100);
    assert!(gradient.limit() >= 50, "{}", gradient.limit());
}

#[test]
fn a_limit_nobody_reaches_is_not_raised() {
    let mut now = Instant::now();
    let mut gradient = Gradient::new(10, 100, now);
    for _ in 0..1000 {
        now += Duration::from_millis(20);
        gradient.observe(now - Duration::from_millis(5), now, 1);
    }
    assert_eq!(gradient.limit(), 10);
}

proptest! {
    #[test]
    fn no_latency_moves_the_limit_out_of_its_bounds(
        min in 1usize..50,
        more in 0usize..500,
        calls in prop::collection::vec((0u64..10_000, 0u64..2_000, 0usize..600), 0..400),
    ) {
        let begin = Instant::now() + Duration::from_secs(3600);
        let mut now = begin;
        let mut gradient = Gradient::new(min, min + more, now);
        for (latency, pause, in_flight) in calls {
            now += Duration::from_millis(pause);
            gradient.observe(now - Duration::from_millis(latency), now, in_flight);
            prop_assert!((min..=min + more).contains(&gradient.limit()));
        }
    }
}
