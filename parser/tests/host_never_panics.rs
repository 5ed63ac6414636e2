//! No text makes a reader of a part panic, and what a reader says points into its text.

use nattrace_parser::Diagnostic;
use nattrace_parser::host::{
    address, bridge, conntrack, docker, ipset, listener, nftables, route, rule, snapshot, sysctl,
    zones,
};
use proptest::prelude::*;

/// What each reader has to say about a text.
fn complaints(text: &str) -> Vec<Vec<Diagnostic>> {
    vec![
        address::parse(text).1,
        bridge::parse(text).1,
        conntrack::parse(text).1,
        docker::parse_containers(text).1,
        docker::parse_networks(text).1,
        ipset::parse(text).1,
        listener::parse(text).1,
        nftables::parse(text).1,
        route::parse(text, None).1,
        rule::parse(text).1,
        snapshot::split(text).1,
        sysctl::parse(text).1,
        zones::parse(text).1,
    ]
}

fn check(text: &str) -> Result<(), TestCaseError> {
    for found in complaints(text).into_iter().flatten() {
        prop_assert!(text.get(found.span.range()).is_some(), "{:?} in {:?}", found, text);
        prop_assert!(!found.message.contains('\n') && !found.message.ends_with('.'), "{:?}", found);
    }
    Ok(())
}

/// Real listings, to cut and to disturb.
const LISTINGS: [&str; 18] = [
    include_str!("data/listings/nft-ruleset.json"),
    include_str!("data/listings/ip-addr"),
    include_str!("data/listings/ip-addr.json"),
    include_str!("data/listings/ip-addr-d"),
    include_str!("data/listings/ip-addr-br"),
    include_str!("data/listings/ip-link-o"),
    include_str!("data/listings/ip-route"),
    include_str!("data/listings/ip-route.json"),
    include_str!("data/listings/route-n"),
    include_str!("data/listings/route-6n"),
    include_str!("data/listings/ip-rule"),
    include_str!("data/listings/ip-rule.json"),
    include_str!("data/listings/bridge-link"),
    include_str!("data/listings/ipset-save"),
    include_str!("data/docker/04-networks/listeners"),
    include_str!("data/docker/04-networks/docker-network-inspect.json"),
    include_str!("data/docker/11a-ipv6-ip6tables/sysctl"),
    "[zones.a]\nvia = [\"eth0\"]\nnets = [\"10.0.0.0/8\"]\n#@ nattrace sysctl\ntcp 6 9 LISTEN src=1.1.1.1 dst=2.2.2.2 [ASSURED]\n",
];

/// A few lines of a listing, with one word replaced.
fn disturbed() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "",
        "-1",
        "4294967296",
        "0x",
        "[",
        "]",
        "{",
        "}",
        "\"",
        ",",
        ":",
        "=",
        "é",
        "\u{feff}",
        "/",
        "10.0.0.0/33",
        "\\ ",
        "null",
        "true",
        "::",
        "all",
        "users:((",
        "comment \"",
        "\0",
    ]);
    (prop::sample::select(LISTINGS.to_vec()), 0_usize..12_000, 1_usize..900, 0_usize..900, words)
        .prop_map(|(listing, from, length, at, word)| {
            let floor = |mut offset: usize| {
                offset = offset.min(listing.len());
                while !listing.is_char_boundary(offset) {
                    offset -= 1;
                }
                offset
            };
            let from = floor(from % listing.len());
            let cut = listing.get(from..floor(from + length)).unwrap_or("");
            let mut text = cut.to_owned();
            let mut at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, word);
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_text_is_read(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_cut_and_disturbed_listing_is_read(text in disturbed()) {
        check(&text)?;
    }

    #[test]
    fn any_mix_of_words_is_read(text in "(([0-9]{1,3}:|inet|via|dev|from|lookup|nexthop|tcp|LISTEN|add|create|hash:ip|src=|10\\.0\\.0\\.1|::1|\\[|\\]|#@ nattrace)[ \t\n,/@]){0,12}") {
        check(&text)?;
    }
}

#[test]
fn a_whole_listing_given_to_the_wrong_reader_is_read() {
    for listing in LISTINGS {
        for found in complaints(listing).into_iter().flatten() {
            assert!(listing.get(found.span.range()).is_some(), "{found:?}");
        }
    }
}
