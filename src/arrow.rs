//! The arrow of `nattrace why SRC -> DST`.
//!
//! A shell that is given an unquoted `->` takes it for `-` and a redirection: nattrace gets `SRC -`,
//! and standard output is a new empty file called `DST`. This is seen here and undone: the answer
//! goes to the terminal, and the file is removed. Nothing that could be anything else is touched.

use std::env;
use std::fs::{self, File, Metadata};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::exit::{Failure, Result};

/// What to do where standard output is redirected once more.
const WRITE_TO: &str = "where standard output is redirected, write `SRC to DST`";

/// The two ends of the packet, as they were written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The source.
    pub(crate) source: String,
    /// The destination.
    pub(crate) destination: String,
    /// The file that the shell made of the destination.
    pub(crate) stray: Option<Stray>,
}

/// Finds the two ends in the words of the command line. Names of networks may hold blanks: what
/// was one word for the shell stays one.
pub(crate) fn read(words: &[String]) -> Result<Ends> {
    let sentence = words.join(" ").replace("->", "→");
    if let Some((source, destination)) = sentence.split_once('→') {
        return ends(source, destination, &sentence);
    }
    let words: Vec<&str> = words.iter().map(|word| word.trim()).collect();
    match words.as_slice() {
        [source, "-"] => after_shell(source),
        [source, "to", destination] => ends(source, destination, &sentence),
        [source, destination] => {
            let source = source.strip_suffix(" to").unwrap_or(source);
            let destination = destination.strip_prefix("to ").unwrap_or(destination);
            ends(source, destination, &sentence)
        }
        [source] => one_word(source),
        _ => Err(too_many(&sentence)),
    }
}

/// The two ends that one word holds.
fn one_word(word: &str) -> Result<Ends> {
    let parts: Vec<&str> = word.split_whitespace().collect();
    match parts.as_slice() {
        [source, destination] if *source != "to" && *destination != "-" => {
            ends(source, destination, word)
        }
        [source, "-"] => after_shell(source),
        [source] if source.len() > 1 && source.ends_with('-') => {
            after_shell(source.trim_end_matches('-'))
        }
        [source] => Err(no_destination(source)),
        _ => match word.split_once(" to ") {
            Some((source, destination)) => ends(source, destination, word),
            None => Err(too_many(word)),
        },
    }
}

fn ends(source: &str, destination: &str, all: &str) -> Result<Ends> {
    let [source, destination] = [source, destination].map(str::trim);
    if source.is_empty() || destination.contains('→') {
        return Err(too_many(all));
    }
    if destination.is_empty() {
        return Err(no_destination(source));
    }
    Ok(Ends { source: source.to_owned(), destination: destination.to_owned(), stray: None })
}

fn no_destination(source: &str) -> Failure {
    Failure::input(format!("expected a destination after `{source}`"))
        .help(format!("write `nattrace why {source} -> 1.1.1.1:443`"))
}

fn too_many(found: &str) -> Failure {
    Failure::input(format!("expected `SRC -> DST`, found `{found}`"))
        .help("one source and one destination, such as `web -> 1.1.1.1:443/tcp`")
}

/// The destination is the name of the file that standard output is.
fn after_shell(source: &str) -> Result<Ends> {
    let Some(stray) = Stray::find(io::stdout()) else {
        return Err(Failure::input(format!("expected a destination after `{source} -`"))
            .help(format!("the shell takes `->` for a redirection: {WRITE_TO}")));
    };
    let destination = stray.name.clone();
    Ok(Ends { source: source.to_owned(), destination, stray: Some(stray) })
}

/// An empty file of this folder that standard output was redirected to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    path: PathBuf,
    name: String,
    device: u64,
    inode: u64,
}

impl Stray {
    /// Looks whether standard output is such a file, and nothing that anybody could miss.
    fn find(stdout: impl AsFd) -> Option<Self> {
        let output = File::from(stdout.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
        if !is_new(&output) {
            return None;
        }
        let folder = env::current_dir().ok()?;
        let linked = fs::read_link("/proc/self/fd/1").ok().and_then(|path| {
            let name = path.file_name()?;
            Some(folder.join(name))
        });
        let same = |path: &Path| {
            let found = fs::symlink_metadata(path).ok()?;
            (is_new(&found) && found.dev() == output.dev() && found.ino() == output.ino())
                .then_some(())
        };
        // Without /proc the folder is searched for it.
        let path = linked.filter(|path| same(path).is_some()).or_else(|| {
            let mut entries =
                fs::read_dir(&folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
            entries.find(|path| same(path).is_some())
        })?;
        let name = path.file_name()?.to_str()?.to_owned();
        Some(Self { path, name, device: output.dev(), inode: output.ino() })
    }

    /// Whether its name is an address or a word that stands for one: then it is a destination
    /// whatever the host looks like.
    pub(crate) fn is_surely_endpoint(&self) -> bool {
        let name = self.name.as_str();
        let host = name.split_once(':').map_or(name, |(host, _)| host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.parse::<SocketAddr>().is_ok()
            || bare.parse::<IpAddr>().is_ok()
            || (host.parse::<IpAddr>().is_ok())
            || ["host", "internet", "lan"].contains(&host)
    }

    /// What to do if the file was meant as a file.
    pub(crate) fn advice(&self) -> String {
        format!("`{}` is the file that standard output goes to; {WRITE_TO}", self.name)
    }

    /// Whether standard error goes to the same file, as with `2>&1`: what is said goes there.
    fn holds_stderr(&self) -> bool {
        let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let data = stderr.and_then(|file| file.metadata());
        data.is_ok_and(|data| data.dev() == self.device && data.ino() == self.inode)
    }

    /// Removes the file if it is still the same, and still empty. Returns what to tell about it.
    pub(crate) fn remove(&self) -> String {
        let name = &self.name;
        let unchanged = fs::symlink_metadata(&self.path).is_ok_and(|found| {
            is_new(&found) && found.dev() == self.device && found.ino() == self.inode
        });
        let removed = unchanged && !self.holds_stderr() && fs::remove_file(&self.path).is_ok();
        let file = if removed {
            format!("the empty file `{name}` is removed")
        } else {
            format!("the file `{name}` stays")
        };
        format!("the shell took `->` for a redirection to `{name}`: the answer is here, {file}")
    }
}

/// An empty regular file with one name.
fn is_new(data: &Metadata) -> bool {
    data.is_file() && data.len() == 0 && data.nlink() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(words: &[&str]) -> Option<(String, String)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        read(&words).ok().map(|ends| (ends.source, ends.destination))
    }

    #[test]
    fn every_way_to_write_it_means_the_same() {
        let expected = Some(("a".to_owned(), "b:443/tcp".to_owned()));
        for words in [
            &["a", "b:443/tcp"][..],
            &["a", "to", "b:443/tcp"],
            &["a", "→", "b:443/tcp"],
            &["a", "→b:443/tcp"],
            &["a -> b:443/tcp"],
            &["a->b:443/tcp"],
            &["a ->", "b:443/tcp"],
            &["a to b:443/tcp"],
            &["a → b:443/tcp"],
            &["a b:443/tcp"],
            &["a to", "b:443/tcp"],
            &["a", "to b:443/tcp"],
            &["a", "->b:443/tcp"],
            &["a", " b:443/tcp "],
        ] {
            assert_eq!(ends(words), expected, "{words:?}");
        }
    }

    #[test]
    fn names_may_hold_blanks() {
        let expected = Some(("my net".to_owned(), "c d".to_owned()));
        for words in [
            &["my net", "c d"][..],
            &["my net", "to", "c d"],
            &["my net", "→", "c d"],
            &["my net -> c d"],
            &["my net to c d"],
        ] {
            assert_eq!(ends(words), expected, "{words:?}");
        }
    }

    #[test]
    fn too_few_and_too_many_are_refused() {
        for words in [
            &["a"][..],
            &["a", "b", "c"],
            &["a", "to", "b", "c"],
            &[""],
            &["→"],
            &["a", "→"],
            &["→", "b"],
            &["a", "→", "b", "→", "c"],
            &["a b c"],
            &["to b"],
        ] {
            assert_eq!(ends(words), None, "{words:?}");
        }
    }

    fn stray(name: &str) -> Stray {
        Stray { path: name.into(), name: name.to_owned(), device: 0, inode: 0 }
    }

    #[test]
    fn addresses_are_endpoints_and_names_may_be() {
        for name in
            ["1.1.1.1", "1.1.1.1:443", "fd00::1", "[fd00::1]:53", "[fd00::1]", "host:22", "lan"]
        {
            assert!(stray(name).is_surely_endpoint(), "{name}");
        }
        for name in ["result.txt", "web", "1.1.1", "hosts", "1.1.1.1.txt"] {
            assert!(!stray(name).is_surely_endpoint(), "{name}");
        }
    }
}
