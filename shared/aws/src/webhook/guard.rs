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
        // AS112, as 192.175.48.0/24 of IPv4.
        [0x2620, 0x4f, 0x8000, ..] => true,
        // ISATAP tunnels to the IPv4 address in the last 32 bits.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            !is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
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
            "127.0.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:1.1.1.1",
            "fd00:ec2::254",
            "fd00:ec2::23",
        ] {
            assert!(!is_public(parse(address)), "{address}");
        }
    }

    /// The registries of special-purpose addresses, with the blocks that others fill: multicast, what is reserved, and
    /// what IPv6 leaves outside global unicast. Of each block the first and the last address, and some between.
    #[test]
    fn no_block_of_a_special_purpose_may_be_reached() {
        for block in [
            // IPv4
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.0.0/29",
            "192.0.0.8/32",
            "192.0.0.9/32",
            "192.0.0.10/32",
            "192.0.0.170/31",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "255.255.255.255/32",
            // IPv6
            "::/128",
            "::1/128",
            "::/96",
            "::ffff:0:0/96",
            "64:ff9b:1::/48",
            "100::/64",
            "100:0:0:1::/64",
            "2001::/23",
            "2001::/32",
            "2001:1::1/128",
            "2001:1::2/128",
            "2001:1::3/128",
            "2001:2::/48",
            "2001:3::/32",
            "2001:4:112::/48",
            "2001:10::/28",
            "2001:20::/28",
            "2001:30::/28",
            "2001:db8::/32",
            "2002::/16",
            "2620:4f:8000::/48",
            "3fff::/20",
            "4000::/2",
            "5f00::/16",
            "8000::/1",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ] {
            for address in samples(block) {
                assert!(!is_public(address), "{address} of {block}");
            }
        }
    }

    /// Just outside of the blocks there is the open network again: a guard that refuses everything would be no guard.
    #[test]
    fn the_neighbours_of_special_blocks_may_be_reached() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.31.195.255",
            "192.31.197.0",
            "192.52.192.255",
            "192.52.194.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "192.175.47.255",
            "192.175.49.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2620:4f:7fff::1",
            "2620:4f:8001::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(parse(address)), "{address}");
        }
    }

    /// An IPv4 address inside an IPv6 one is what the packet ends up at.
    #[test]
    fn an_embedded_address_is_judged_by_itself_or_refused() {
        for inner in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.1.1", "0.0.0.0", "224.0.0.1", "1.1.1.1"] {
            let [a, b, c, d] = inner.parse::<Ipv4Addr>().expect("an address").octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let is_open = inner == "1.1.1.1";
            for (form, segments, may_be_open) in [
                ("mapped", [0, 0, 0, 0, 0, 0xffff, high, low], false),
                ("compatible", [0, 0, 0, 0, 0, 0, high, low], false),
                ("translated", [0, 0, 0, 0, 0xffff, 0, high, low], false),
                ("NAT64", [0x64, 0xff9b, 0, 0, 0, 0, high, low], true),
                ("NAT64 within the prefix, elsewhere", [0x64, 0xff9b, 0, 0, 0, 1, high, low], false),
                ("local NAT64", [0x64, 0xff9b, 1, 0, 0, 0, high, low], false),
                ("6to4", [0x2002, high, low, 0, 0, 0, 0, 1], false),
                ("Teredo server", [0x2001, 0, high, low, 0, 0, 0, 0], false),
                ("Teredo client", [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low], false),
                ("ISATAP, link-local", [0xfe80, 0, 0, 0, 0, 0x5efe, high, low], false),
                ("ISATAP, private", [0x2600, 0, 0, 0, 0, 0x5efe, high, low], true),
                ("ISATAP, global", [0x2600, 0, 0, 0, 0x0200, 0x5efe, high, low], true),
            ] {
                let address = IpAddr::V6(Ipv6Addr::from(segments));
                assert_eq!(is_public(address), is_open && may_be_open, "{form} of {inner}: {address}");
            }
        }
    }

    /// The first and the last address of a block, and 30 spread over it.
    fn samples(block: &str) -> Vec<IpAddr> {
        let (first, length) = block.split_once('/').expect("a block");
        let length: u32 = length.parse().expect("a length");
        let spread = |free: u32| {
            let last = if free == 0 { 0 } else { u128::MAX >> (128 - free) };
            (0..=31_u128).map(move |step| last / 31 * step).chain([last, 1.min(last), last.saturating_sub(1)])
        };
        match parse(first) {
            IpAddr::V4(first) => {
                let first = u128::from(first.to_bits());
                let at = |offset: u128| Ipv4Addr::from_bits(u32::try_from(first + offset).expect("within the block"));
                spread(32 - length).map(|offset| IpAddr::V4(at(offset))).collect()
            }
            IpAddr::V6(first) => {
                let first = first.to_bits();
                spread(128 - length).map(|offset| IpAddr::V6(Ipv6Addr::from_bits(first + offset))).collect()
            }
        }
    }
}
