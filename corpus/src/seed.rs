//! A seed: a question as a person posts it, what else is known of the host, and what has to be
//! said about it.
//!
//! A seed is a folder of `seeds`: `story.md` for people, the texts as posted, parts of snapshots,
//! and `expect.toml`. A variant says which of the texts are given, and as what; a question is asked
//! of a variant in the words of the command line.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The folder of the seeds.
#[must_use]
pub fn seeds_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// A seed as it lies on disk.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The name of its folder.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its texts by file name.
    pub texts: BTreeMap<String, String>,
    /// What is asked and expected.
    pub expect: Expect,
}

/// What is asked about a seed, and what has to be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What is known in each variant.
    pub variants: BTreeMap<String, Variant>,
    /// The questions.
    #[serde(rename = "question")]
    pub questions: Vec<Question>,
}

/// What is given: the parts of a snapshot, and rules beside it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variant {
    /// What is special about it, for people.
    pub about: String,
    /// Names of parts, each with the file of the seed that is that part.
    pub parts: BTreeMap<String, String>,
    /// Names of parts, each with its text.
    pub inline: BTreeMap<String, String>,
    /// The files that are given as rules (`--rules`).
    pub rules: Vec<String>,
}

/// A question with all that has to be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Question {
    /// What it is about, for people.
    pub about: String,
    /// The variants that it is asked of.
    pub of: Vec<String>,
    /// The packet, as after `nattrace why`.
    pub ask: String,
    /// The answer.
    #[serde(default)]
    pub says: Says,
    /// The ways that things may go, in any order; their number has to be right.
    #[serde(default)]
    pub ways: Option<Vec<Way>>,
    /// The codes of assumptions that have to be listed.
    #[serde(default)]
    pub assumes: Vec<String>,
    /// Words that the texts of the assumptions have to contain.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// The codes of assumptions that must not be listed.
    #[serde(default)]
    pub assumes_not: Vec<String>,
}

/// One way that things may go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Decisions that this way takes, among others.
    #[serde(default)]
    pub when: BTreeMap<String, bool>,
    /// The answer then.
    pub says: Says,
}

/// What an answer says. What is not named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Says {
    /// What becomes of the packet.
    pub verdict: Option<String>,
    /// What its sender experiences.
    pub outcome: Option<String>,
    /// `SRC > DST by IFACE` as the packet leaves, `SRC > DST` where a local process gets it;
    /// `?` for a source that is not known, `none` where the packet goes nowhere or where that is
    /// not known.
    pub egress: Option<String>,
    /// The interface by which the packet comes in; `none` for a local process.
    #[serde(rename = "in")]
    pub comes_in: Option<String>,
    /// Rules that matched, each with its effect in front: `masquerade -A POSTROUTING …`.
    pub met: Vec<String>,
    /// Rules that must not have matched.
    pub unmet: Vec<String>,
    /// The step that decided: the rule, `policy DROP of FORWARD`, or a decision of routing.
    pub decided: Option<String>,
    /// Words that the reason of the outcome contains.
    pub because: Vec<String>,
    /// What becomes of the answer, and as what it leaves: `forwarded SRC > DST by IFACE`.
    pub reply: Option<String>,
    /// What docker-proxy's own connection meets.
    pub proxy: Option<Box<Says>>,
}

impl Seed {
    /// Reads a seed from its folder.
    ///
    /// # Errors
    ///
    /// The folder or a file in it can't be read, or `expect.toml` is not in the expected form.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            texts.insert(file, fs::read_to_string(entry.path())?);
        }
        let path = folder.join("expect.toml");
        let wrong = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let text = texts.remove("expect.toml").ok_or_else(|| wrong("is missing".to_owned()))?;
        let expect: Expect = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let seed =
            Self { name: name.unwrap_or_default(), folder: folder.to_owned(), texts, expect };
        for question in &seed.expect.questions {
            for variant in &question.of {
                seed.given(variant).map_err(wrong)?;
            }
        }
        Ok(seed)
    }

    /// Reads every seed of a folder, by name.
    ///
    /// # Errors
    ///
    /// As for [`Seed::read`].
    pub fn read_all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut folders: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        folders.retain(|path| path.is_dir());
        folders.sort();
        folders.iter().map(|path| Self::read(path)).collect()
    }

    /// What is given in a variant.
    ///
    /// # Errors
    ///
    /// There is no such variant, or no such file.
    pub fn given(&self, variant: &str) -> Result<Given<'_>, String> {
        let chosen = self
            .expect
            .variants
            .get(variant)
            .ok_or_else(|| format!("there is no variant `{variant}`"))?;
        let text = |file: &String| {
            let text = self.texts.get(file);
            text.map(String::as_str).ok_or_else(|| format!("there is no file `{file}`"))
        };
        let mut given = Given::default();
        for (part, file) in &chosen.parts {
            given.parts.push((part, text(file)?));
        }
        given.parts.extend(chosen.inline.iter().map(|(part, text)| (&**part, &**text)));
        for file in &chosen.rules {
            given.rules.push((file, text(file)?));
        }
        Ok(given)
    }
}

/// The texts of a variant.
#[derive(Clone, Debug, Default)]
pub struct Given<'s> {
    /// The parts of the snapshot: name and text.
    pub parts: Vec<(&'s str, &'s str)>,
    /// The rules beside it: name and text.
    pub rules: Vec<(&'s str, &'s str)>,
}
