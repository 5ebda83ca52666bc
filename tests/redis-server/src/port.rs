use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// A port of 127.0.0.1 that the system gives to nobody else as long as this lives: bound, and never listened on. Whoever
/// listens on it says `SO_REUSEADDR`, as servers do; until somebody does, and when it has gone, clients are refused.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// One that nobody has.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn free() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        held.set_reuse_address(true).expect("an option that every system has");
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let number = held.local_addr().ok().and_then(|at| at.as_socket()).expect("bound").port();
        Self { number, _held: held }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_port_is_kept_for_one_that_listens_on_it_and_goes_and_comes() {
        let port = Port::free();
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let _listener = TcpListener::bind(address).unwrap();
            TcpStream::connect(address).unwrap();
        }
    }

    #[test]
    fn nobody_is_given_a_port_twice() {
        let ports: Vec<_> = (0..500).map(|_| Port::free()).collect();
        let others: Vec<_> = (0..500).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let all = ports.iter().map(Port::number).chain(others.iter().map(|it| it.local_addr().unwrap().port()));
        assert_eq!(all.collect::<HashSet<_>>().len(), 1000);
    }
}
