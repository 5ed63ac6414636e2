//! Reads the snapshots beside the repository.

use std::net::IpAddr;
use std::path::PathBuf;

use nattrace_model::build::{self, Loaded, Text};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/docker")
}

/// An address.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The names of the snapshots, sorted; empty where there are none.
pub(crate) fn all() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Says so where there is nothing to test with.
pub(crate) fn skipped(names: &[String]) -> bool {
    if names.is_empty() {
        nattrace_skips::skip_without_data("real snapshots");
    }
    names.is_empty()
}

/// The files of a snapshot by name.
pub(crate) fn files(name: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder().join(name))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// A whole snapshot.
pub(crate) fn load(name: &str) -> Loaded {
    load_without(name, |_| false)
}

/// A snapshot without some of its files.
pub(crate) fn load_without(name: &str, left_out: impl Fn(&str) -> bool) -> Loaded {
    let files = files(name);
    let texts: Vec<Text<'_>> = files
        .iter()
        .filter(|(name, _)| !left_out(name))
        .map(|(name, text)| Text { name, text })
        .collect();
    build::load(&texts, &[])
}
