//! Which addresses a webhook may reach. Checked on the addresses that a name resolved to, and those are the ones then
//! connected to: a name cannot answer twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address lies in the open network. Everything with a special purpose is refused: this machine, private
/// networks, link-local (the metadata services), shared, documentation, benchmark, multicast, and every way of writing
/// one of those inside an IPv6 address.
/// Source: <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // NAT64: an IPv6-only network reaches the embedded IPv4 address.
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is global unicast at all. Loopback, mapped and compatible IPv4, unique-local, link-local and
    // multicast addresses lie outside it.
    let is_global = segments[0] & 0xe000 == 0x2000;
    let is_special = match segments {
        // 2001::/23: Teredo, ORCHID, benchmarks and other protocol assignments; 2001:db8::/32: documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] => true,
        // 6to4 holds an IPv4 address of anyone's choice.
        [0x2002, ..] => true,
        [0x3fff, 0..=0xfff, ..] => true,
        _ => false,
    };
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_open_network_may_be_reached() {
        for address in [
            "1.1.1.1",
            "52.95.110.1",
            "99.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2a05:d018::1",
            "2600:1f18::1",
            "2001:4860:4860::8888",
            "64:ff9b::3460:1",
        ] {
            assert!(is_public(parse(address)), "{address}");
        }
    }

    #[test]
    fn nothing_else_may_be_reached() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!is_public(parse(address)), "{address}");
        }
    }
}
