//! `make load`: what is left of the server at five times the load it can carry.
//!
//! As many isolated runs a second as it can do (a closed loop that never lets it wait), then requests at
//! five times that rate whether or not they are answered (an open loop, so that a slow server is not
//! spared), then the first again, and so on: the machine drifts, so each overload is compared with the
//! peaks right before and after it. Goodput is what is answered with a result; the rest must be refused
//! quickly, and nothing may be left unanswered. The load generator runs on the same processors.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may die"
)]
#![allow(dead_code, reason = "the programs share one file of tools")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::{exchange, request, start_ours, token};
use tokio::net::TcpStream;

/// Callers; no limit of one caller is reached.
const CALLERS: usize = 64;
/// Connections of the closed loop: more than places, so that a run always waits.
const CLOSED: usize = 16;
const WARM_UP: Duration = Duration::from_secs(1);
const SPAN: Duration = Duration::from_secs(5);
/// Overloads, each between two peaks.
const ROUNDS: usize = 5;
/// Between two of them: what the kernel still takes down is not counted against the next.
const REST: Duration = Duration::from_secs(1);
/// How much more is asked for than can be had.
const OVERLOAD: f64 = 5.0;

/// How one request ended.
struct Ended {
    status: u16,
    took: Duration,
    at: Instant,
}

fn main() {
    actix_rt::System::new().block_on(async {
        let data = tempfile::tempdir().unwrap();
        let server = start_ours(data.path());
        let requests: Vec<Vec<u8>> = (0..CALLERS)
            .map(|n| {
                let token = token(data.path(), &format!("caller-{n}"));
                request(&token, "execute_code", r#"{"code":"print(1)","language":"python"}"#)
            })
            .collect();
        let requests = Rc::new(requests);
        let mut ended = Vec::new();
        let mut shares = Vec::new();
        let mut before = closed(&server.address, &requests).await;
        for _ in 0..ROUNDS {
            tokio::time::sleep(REST).await;
            let (goodput, rate) = open(&server.address, &requests, before, &mut ended).await;
            tokio::time::sleep(REST).await;
            let after = closed(&server.address, &requests).await;
            let share = goodput / before.midpoint(after);
            println!(
                "peak {before:.0} and {after:.0} isolated runs/s; asked for {rate:.0}/s: goodput \
                 {goodput:.0}/s, {share:.2} of the peak"
            );
            shares.push(share);
            before = after;
        }
        shares.sort_by(f64::total_cmp);
        println!("goodput, median of {ROUNDS}: {:.2} of the peak", shares[ROUNDS / 2]);
        report(&ended);
    });
}

/// Runs a second when nobody else is asked for more than that.
async fn closed(address: &str, requests: &Rc<Vec<Vec<u8>>>) -> f64 {
    let (began, done) = (Instant::now(), RefCell::new(0));
    let clients = (0..CLOSED).map(|n| {
        let done = &done;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = Vec::new();
            while began.elapsed() < WARM_UP + SPAN {
                let sent = exchange(&mut stream, &requests[n % CALLERS], &mut buffer).await;
                assert_eq!(sent.unwrap().0, 200);
                if began.elapsed() > WARM_UP {
                    *done.borrow_mut() += 1;
                }
            }
        }
    });
    futures_util::future::join_all(clients).await;
    f64::from(done.into_inner()) / SPAN.as_secs_f64()
}

/// Requests at [`OVERLOAD`] times the peak, each on a connection nobody else uses meanwhile; results and
/// requests, each a second.
async fn open(
    address: &str,
    requests: &Rc<Vec<Vec<u8>>>,
    peak: f64,
    all: &mut Vec<Ended>,
) -> (f64, f64) {
    let (ended, idle) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let total = (peak * OVERLOAD * (WARM_UP + SPAN).as_secs_f64()) as usize;
    let every = Duration::from_secs_f64(1.0 / (peak * OVERLOAD));
    let began = Instant::now();
    let mut tasks = Vec::with_capacity(total);
    for n in 0..total {
        tokio::time::sleep_until((began + every * n as u32).into()).await;
        let (requests, ended, idle) = (requests.clone(), ended.clone(), idle.clone());
        let address = address.to_owned();
        tasks.push(actix_rt::spawn(async move {
            let free: Option<TcpStream> = idle.borrow_mut().pop();
            let mut stream = match free {
                Some(stream) => stream,
                None => TcpStream::connect(&address).await.unwrap(),
            };
            let (sent, mut buffer) = (Instant::now(), Vec::new());
            let answer = exchange(&mut stream, &requests[n % CALLERS], &mut buffer).await;
            let (status, _) = answer.expect("a request that nobody answered");
            ended.borrow_mut().push(Ended { status, took: sent.elapsed(), at: Instant::now() });
            idle.borrow_mut().push(stream);
        }));
    }
    let asked = began.elapsed();
    for task in tasks {
        task.await.unwrap();
    }
    let mut ended = ended.take();
    // As in the closed loop: once it runs steadily, until nothing more is asked.
    let steady = |e: &&Ended| (WARM_UP..=asked).contains(&e.at.duration_since(began));
    let good = ended.iter().filter(steady).filter(|e| e.status == 200).count();
    let goodput = good as f64 / (asked - WARM_UP).as_secs_f64();
    let rates = (goodput, ended.len() as f64 / asked.as_secs_f64());
    all.append(&mut ended);
    rates
}

fn report(ended: &[Ended]) {
    let mut statuses: Vec<u16> = ended.iter().map(|e| e.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let mut times: Vec<Duration> =
            ended.iter().filter(|e| e.status == status).map(|e| e.took).collect();
        times.sort_unstable();
        let ms = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "  {status}: {:>6}  p50 {:>8.1} ms  p99 {:>8.1} ms",
            times.len(),
            ms(0.5),
            ms(0.99)
        );
    }
}
