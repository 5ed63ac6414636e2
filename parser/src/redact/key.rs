//! What is drawn by chance, but always in the same way for the same input.

use sha2::{Digest, Sha256};

/// The key of one redaction.
#[derive(Clone, Copy)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of an input.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// A value that belongs to a subject, such as a prefix.
    pub(super) fn draw(self, kind: u8, subject: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update([kind]);
        hash.update(subject);
        hash.finalize().into()
    }
}

/// The pseudonym of a hardware address. Groups, all zeros and all ones mean something: they stay.
pub(super) fn hardware_address(key: Key, text: &str) -> String {
    let bytes: Vec<u8> =
        text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let Some(first) = bytes.first() else { return text.to_owned() };
    if first & 1 == 1 || bytes.iter().all(|byte| *byte == 0) {
        return text.to_owned();
    }
    let drawn = key.draw(b'm', text.to_ascii_lowercase().as_bytes());
    let written = drawn.iter().zip(0..6).map(|(byte, at)| {
        // The first byte's two low bits say group and local.
        let byte = if at == 0 { (byte & !3) | (first & 3) } else { *byte };
        format!("{byte:02x}")
    });
    written.collect::<Vec<_>>().join(":")
}
