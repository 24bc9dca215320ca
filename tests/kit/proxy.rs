//! A way to a server that breaks: a proxy that ends every connection, or carries nothing any more, once so many bytes have
//! gone by in both directions.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What happens to the connections then, and to those that come later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    Cut,
    Silence,
}

pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    server: u16,
    limit: u64,
    then: Break,
    passed: AtomicU64,
    is_over: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A way to a port of this machine.
    pub(crate) fn new(server: u16, limit: u64, then: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (passed, is_over, ends) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { server, limit, then, passed, is_over, ends });
        let accepting = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    break;
                }
                accepting.join(client.unwrap());
            }
        });
        Self { shared, port, accepting: Some(accepting) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes have gone by.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.shared.is_broken()
    }
}

impl Shared {
    fn is_broken(&self) -> bool {
        self.passed.load(Ordering::SeqCst) >= self.limit
    }

    fn join(self: &Arc<Self>, client: TcpStream) {
        if self.is_broken() && self.then == Break::Cut {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let ends = [&client, &server].map(|end| end.try_clone().unwrap());
        self.ends.lock().unwrap().extend(ends);
        for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
            from.set_nodelay(true).unwrap();
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let before = self.passed.fetch_add(read as u64, Ordering::SeqCst);
            let room = usize::try_from(self.limit.saturating_sub(before)).unwrap_or(usize::MAX).min(read);
            if to.write_all(&buffer[..room]).is_err() {
                break;
            }
            if self.is_broken() && self.then == Break::Cut {
                self.cut();
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    }

    fn cut(&self) {
        self.ends.lock().unwrap().drain(..).for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.accepting.take().unwrap().join());
        self.shared.cut();
    }
}
