//! Lists of addresses and networks, such as who may purge.

use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;

/// A set of networks; empty means nobody.
#[derive(Clone, Debug)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `address` is in one of the networks.
    ///
    /// An IPv4 address is recognised in its IPv6-mapped form, which is how a listener on `[::]` sees it.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(|part| network(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).map_err(|_| {
        format!("{text:?} is neither an address nor a network; expected such as 10.0.0.7, 10.0.0.0/8 or none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_none() {
        let list: Networks = "10.0.0.0/8, ::1,192.0.2.7".parse().unwrap();
        for inside in ["10.9.8.7", "::1", "192.0.2.7", "::ffff:10.1.1.1"] {
            assert!(list.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "::2", "192.0.2.8"] {
            assert!(!list.contain(outside.parse().unwrap()), "{outside}");
        }
        let nobody: Networks = "none".parse().unwrap();
        assert!(!nobody.contain("127.0.0.1".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0.1,,"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
