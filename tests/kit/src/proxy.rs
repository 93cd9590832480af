//! A TCP proxy on loopback that can cut, stall, mute, delay, throttle and reset the connections through it.
//!
//! One thread per direction; what it does is read before each piece of data, so a fault holds for open
//! connections too.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often an idle direction looks whether something changed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const HEALTHY: u8 = 0;
/// New connections are closed at once, open ones are cut.
const CUT: u8 = 1;
/// Nothing gets through, nothing is closed: a half-open peer.
const STALLED: u8 = 2;
/// What the client sends arrives, what the server answers does not.
const MUTED: u8 = 3;

/// A throttled connection is written to this often per second.
const PIECES_PER_SECOND: u64 = 10;

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    delay_ms: AtomicU64,
    jitter_ms: AtomicU64,
    /// Bytes per second and direction; 0 = as fast as it goes.
    bandwidth: AtomicU64,
    /// Of a hundred pieces of data, how many end their connection.
    resets_percent: AtomicU64,
    /// Pieces so far: what the pseudo-random choices are made from.
    pieces: AtomicU64,
    /// Connections so far, and how many of them carry nothing any more.
    accepted: AtomicU64,
    buried: AtomicU64,
    ended: AtomicBool,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
}

/// A proxy in front of one address.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `127.0.0.1:<port>`.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting, ([127, 0, 0, 1], port).into()));
        Self { shared, port: own }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes open connections and every new one.
    pub fn cut(&self) {
        self.shared.mode.store(CUT, Ordering::SeqCst);
        self.reset();
    }

    /// Lets nothing through and closes nothing.
    pub fn stall(&self) {
        self.shared.mode.store(STALLED, Ordering::SeqCst);
    }

    /// Holds back each piece of data for this long, either way.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.shared.delay_ms.store(ms, Ordering::SeqCst);
    }

    /// The same, varied evenly by up to `jitter` either way.
    pub fn delay_about(&self, delay: Duration, jitter: Duration) {
        let ms = u64::try_from(jitter.min(delay).as_millis()).unwrap();
        self.shared.jitter_ms.store(ms, Ordering::SeqCst);
        self.delay(delay);
    }

    /// Lets this many bytes per second through, in each direction of each connection.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.bandwidth.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Lets requests through and holds answers back: the other side is half gone.
    pub fn mute(&self) {
        self.shared.mode.store(MUTED, Ordering::SeqCst);
    }

    /// Ends the connection of this many of a hundred pieces of data, chosen the same way in every run.
    pub fn reset_some(&self, percent: u64) {
        self.shared.resets_percent.store(percent, Ordering::SeqCst);
    }

    /// The connections of this moment never carry anything again and are not closed, as when a router
    /// forgot them; new ones are served.
    pub fn bury(&self) {
        self.shared.buried.store(self.shared.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Closes the open connections once; new ones are served.
    pub fn reset(&self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (client, server) in open.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// Undoes every fault; what a stall held back goes on its way.
    pub fn heal(&self) {
        let shared = &self.shared;
        for fault in
            [&shared.delay_ms, &shared.jitter_ms, &shared.bandwidth, &shared.resets_percent]
        {
            fault.store(0, Ordering::SeqCst);
        }
        self.shared.mode.store(HEALTHY, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.reset();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, target: SocketAddr) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        if shared.mode.load(Ordering::SeqCst) == CUT {
            continue;
        }
        let Ok(server) = TcpStream::connect(target) else { continue };
        let both = |a: &TcpStream, b: &TcpStream| Some((a.try_clone().ok()?, b.try_clone().ok()?));
        let (Some(kept), Some(there), Some(back)) =
            (both(&client, &server), both(&client, &server), both(&server, &client))
        else {
            continue;
        };
        shared.open.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        for ((from, to), answers) in [(there, false), (back, true)] {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || pass(from, to, (number, answers), &shared));
        }
    }
}

impl Shared {
    /// Whether data of this connection and direction stays where it is.
    fn holds(&self, (number, answers): (u64, bool)) -> bool {
        let mode = self.mode.load(Ordering::SeqCst);
        let buried = number < self.buried.load(Ordering::SeqCst);
        let held = buried || mode == STALLED || (mode == MUTED && answers);
        held && !self.ended.load(Ordering::SeqCst)
    }

    /// A number that only depends on how many were drawn before (splitmix64).
    fn draw(&self) -> u64 {
        let step = self.pieces.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        let mut z = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn delay(&self) -> Duration {
        let (delay, jitter) =
            (self.delay_ms.load(Ordering::SeqCst), self.jitter_ms.load(Ordering::SeqCst));
        let spread = if jitter == 0 { 0 } else { self.draw() % (2 * jitter + 1) };
        Duration::from_millis((delay + spread).saturating_sub(jitter))
    }

    fn resets_now(&self) -> bool {
        let percent = self.resets_percent.load(Ordering::SeqCst);
        percent > 0 && self.draw() % 100 < percent
    }

    /// Writes all of it, as slowly as the bandwidth of the moment says.
    fn write(&self, to: &mut TcpStream, mut data: &[u8]) -> std::io::Result<()> {
        while !data.is_empty() && !self.ended.load(Ordering::SeqCst) {
            let bandwidth = self.bandwidth.load(Ordering::SeqCst);
            if bandwidth == 0 {
                return to.write_all(data);
            }
            let piece = usize::try_from(bandwidth / PIECES_PER_SECOND).unwrap().max(1);
            let (now, later) = data.split_at(piece.min(data.len()));
            to.write_all(now)?;
            std::thread::sleep(Duration::from_millis(1000 / PIECES_PER_SECOND));
            data = later;
        }
        Ok(())
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, way: (u64, bool), shared: &Shared) {
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if shared.ended.load(Ordering::SeqCst) {
            break;
        }
        if shared.holds(way) {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        std::thread::sleep(shared.delay());
        while shared.holds(way) {
            std::thread::sleep(LOOK_EVERY);
        }
        if shared.resets_now() || shared.write(&mut to, &buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                    let _ = std::io::copy(&mut from, &mut to);
                });
            }
        });
        port
    }

    fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"x")?;
        let mut one = [0];
        stream.read_exact(&mut one).map(|()| one[0])
    }

    #[test]
    fn a_proxy_passes_delays_stalls_cuts_and_heals() {
        let proxy = Proxy::to(echo());
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let mut stream = connect();
        assert_eq!(ask(&mut stream).unwrap(), b'x');

        proxy.delay(Duration::from_millis(60));
        let asked = Instant::now();
        assert_eq!(ask(&mut stream).unwrap(), b'x');
        assert!(asked.elapsed() >= Duration::from_millis(120), "{:?}", asked.elapsed());
        proxy.heal();

        proxy.stall();
        assert!(ask(&mut stream).is_err(), "a stalled connection answered");
        proxy.heal();
        let mut one = [0];
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read_exact(&mut one).unwrap();
        assert_eq!(&one, b"x", "what was held back arrives");

        proxy.cut();
        assert!(ask(&mut stream).is_err(), "a cut connection answered");
        assert!(ask(&mut connect()).is_err(), "a new connection answered while cut");
        proxy.heal();
        assert_eq!(ask(&mut connect()).unwrap(), b'x');
    }
    #[test]
    fn a_proxy_mutes_throttles_and_resets_some() {
        let proxy = Proxy::to(echo());
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let mut stream = connect();
        proxy.mute();
        assert!(ask(&mut stream).is_err(), "an answer came through");
        proxy.heal();
        let mut one = [0];
        stream.read_exact(&mut one).unwrap();

        proxy.throttle(1000);
        let asked = Instant::now();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&[7; 500]).unwrap();
        stream.read_exact(&mut [0; 500]).unwrap();
        assert!(asked.elapsed() >= Duration::from_millis(400), "{:?}", asked.elapsed());
        proxy.heal();

        proxy.reset_some(30);
        let served = (0..40).filter(|_| ask(&mut connect()).is_ok()).count();
        assert!((5..35).contains(&served), "{served} of 40 were served");
    }
}
