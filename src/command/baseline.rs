//! What `check` and `audit` keep in a file to be left out later: a JSON document with its schema.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::{Failure, Result};
use crate::input;

/// A baseline as it lies on disk.
pub(super) trait Document: DeserializeOwned + Serialize {
    /// The schema that it must name.
    const SCHEMA: &str;
    /// What a file that is none is said not to be.
    const NAME: &str;
    /// The command that writes one.
    const COMMAND: &str;

    /// The schema that it names.
    fn schema(&self) -> &str;

    /// Reads one.
    fn read(path: &Path) -> Result<Self> {
        let text = input::read_text(path)?;
        let read: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::input(format!("`{}` is no {}: {error}", path.display(), Self::NAME))
                .help(format!("`{} --write-baseline FILE` writes one", Self::COMMAND))
        })?;
        if read.schema() != Self::SCHEMA {
            return Err(Failure::input(format!(
                "expected the schema `{}`, found `{}`",
                Self::SCHEMA,
                read.schema()
            )));
        }
        Ok(read)
    }

    /// Writes it.
    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)? + "\n";
        fs::write(path, text).map_err(|error| input::unwritable(path, &error))
    }
}
