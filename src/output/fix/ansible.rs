//! A change as tasks of Ansible, which do nothing where it was made already.

use std::fmt::Write as _;

use nattrace_model::System;
use nattrace_verifier::repair::{Edit, Holder, Op, Setting};

use super::commands;

/// The tasks: for each edit, whether it was made, and the edit.
pub(crate) fn tasks(edits: &[Edit], settings: &[Setting], system: &System) -> String {
    let mut text = String::new();
    for (number, setting) in (1..).zip(settings) {
        let Setting { name, value, because } = setting;
        let _ = write!(
            text,
            "- name: {}\n  become: true\n  ansible.builtin.command:\n    argv: {}\n  register: \
             nattrace_setting_{number}\n",
            scalar(because),
            list(&["sysctl".to_owned(), "-w".to_owned(), format!("{name}={value}")]),
        );
    }
    let mut nft_done = Vec::new();
    for (number, edit) in (1..).zip(edits) {
        if edit.place.holder == Holder::Own {
            if nft_done.contains(&edit.place.family) {
                continue;
            }
            nft_done.push(edit.place.family);
            text.push_str(&native(edits, edit, number, system));
            continue;
        }
        let _ = write!(
            text,
            "- name: whether edit {number} was made\n  become: true\n  ansible.builtin.command:\n    \
             argv: {}\n  register: nattrace_{number}\n  failed_when: false\n  changed_when: false\n  \
             check_mode: false\n",
            list(&commands::asking(edit, system)),
        );
        let unless = if edit.op == Op::Delete { "==" } else { "!=" };
        let _ = write!(
            text,
            "- name: {}\n  become: true\n  ansible.builtin.command:\n    argv: {}\n  when: {}\n",
            scalar(&edit.because),
            list(&commands::arguments(edit, system)),
            scalar(&format!("nattrace_{number}.stdout {unless} {}", scalar(&edit.rule))),
        );
    }
    text
}

/// The table of our own is made as a whole where it is not there.
fn native(edits: &[Edit], first: &Edit, number: usize, system: &System) -> String {
    let family = match first.place.family {
        nattrace_parser::syntax::Family::Ipv4 => "ip",
        nattrace_parser::syntax::Family::Ipv6 => "ip6",
    };
    let own: Vec<Edit> = edits.iter().filter(|edit| edit.place == first.place).cloned().collect();
    let mut text = String::new();
    let asking = ["nft", "list", "table", family, first.place.holder.table()].map(str::to_owned);
    let _ = write!(
        text,
        "- name: whether the table is there\n  become: true\n  ansible.builtin.command:\n    argv: \
         {}\n  register: nattrace_{number}\n  failed_when: false\n  changed_when: false\n  \
         check_mode: false\n",
        list(&asking),
    );
    let _ = write!(
        text,
        "- name: {}\n  become: true\n  ansible.builtin.shell: |\n",
        scalar(&first.because)
    );
    text.push_str("    set -e\n");
    for line in commands::lines(&own, &[], system) {
        let _ = writeln!(text, "    {line}");
    }
    let _ = writeln!(text, "  when: nattrace_{number}.rc != 0");
    text
}

/// A text as YAML in quotes, which is JSON.
fn scalar(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(words: &[String]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}
