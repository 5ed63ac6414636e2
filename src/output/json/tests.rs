use super::*;
use crate::output::sample;

fn written(layout: Layout, keep: bool) -> String {
    let system = sample::system();
    let fragments = Fragments::new(&system);
    let context = Context::new(&system).keeping(keep.then_some(&fragments));
    let mut out = Vec::new();
    // The second time, what was kept is copied.
    for _ in 0..2 {
        out.clear();
        write_answer(&mut out, &context, &sample::answer(&system), layout).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn everything_has_its_key() {
    insta::assert_snapshot!(written(Layout::Indented, false));
}

#[test]
fn a_line_says_the_same_and_is_one() {
    let line = written(Layout::Line, false);
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    let parse = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    assert_eq!(parse(&line), parse(&written(Layout::Indented, false)));
}

#[test]
fn kept_steps_are_written_as_new_ones_are() {
    assert_eq!(written(Layout::Line, true), written(Layout::Line, false));
}

/// The order of keys is part of the contract.
#[test]
fn keys_stand_in_the_order_of_the_contract() {
    let line = written(Layout::Line, false);
    let order = [
        "{\"schema\":\"nattrace/why/1\",\"flow\":{\"src\":\"172.18.0.3\",\"sport\":40000,\"dst\":\
         \"1.1.1.1\",\"dport\":443,\"proto\":\"tcp\",\"iif\":",
        "\"state\":\"related\",\"mark\":1",
        "},\"verdict\":\"undetermined\",\"outcome\":\"undetermined\",\"egress\":{\"src\":null,\
         \"sport\":null,\"dst\":\"1.1.1.1\",\"dport\":443,\"oif\":\"eth0\",\"mark\":16},\"steps\":[",
        "{\"step\":\"rule\",\"hook\":\"PREROUTING\",\"table\":\"nat\",\"chain\":\"PREROUTING\",\
         \"rule\":1,\"at\":\"iptables-save:8\",\"text\":\"-A PREROUTING ",
        "\"effect\":\"jump\"}",
        "{\"step\":\"return\",\"hook\":\"PREROUTING\",\"table\":\"nat\",\"chain\":\
         \"A-CHAIN-OF-A-VERY-LONG-NAME\"}",
        "{\"step\":\"policy\",\"hook\":\"PREROUTING\",\"table\":\"nat\",\"chain\":\"PREROUTING\",\
         \"policy\":\"ACCEPT\"}",
        "{\"step\":\"route\",\"kind\":\"forward\",\"table\":\"main\",\"route\":\
         \"default via 203.0.113.1 dev eth0\",\"oif\":\"eth0\",",
        "\"decided_by\":6,\"reply\":{\"verdict\":\"delivered\",\"egress\":{",
        "\"branches\":[{\"when\":{\"nat/PREROUTING/1 matches\":true,",
        "\"assumptions\":[{\"code\":\"no-listeners\",\"text\":",
    ];
    let mut rest = line.as_str();
    for part in order {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part}\nin {rest}"));
        rest = after;
    }
}
