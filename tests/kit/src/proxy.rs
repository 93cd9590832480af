//! A TCP proxy on loopback that can cut, stall, delay and reset the connections through it.
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

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    delay_ms: AtomicU64,
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
        self.shared.delay_ms.store(0, Ordering::SeqCst);
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
        for (from, to) in [there, back] {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || pass(from, to, &shared));
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if shared.ended.load(Ordering::SeqCst) {
            break;
        }
        if shared.mode.load(Ordering::SeqCst) == STALLED {
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
        std::thread::sleep(Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst)));
        while shared.mode.load(Ordering::SeqCst) == STALLED && !shared.ended.load(Ordering::SeqCst)
        {
            std::thread::sleep(LOOK_EVERY);
        }
        if to.write_all(&buffer[..read]).is_err() {
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
}
