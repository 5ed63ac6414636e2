//! The pages of all codes: docs/codes, one file a code.

/// One page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The code.
    pub(crate) code: &'static str,
    /// The page in Markdown.
    pub(crate) text: &'static str,
}

impl Page {
    /// Its first sentence.
    pub(crate) fn summary(&self) -> &'static str {
        let mut lines = self.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.next().unwrap_or("")
    }
}

/// The page of a code.
pub(crate) fn find(code: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.code == code)
}

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        /// All pages, by code.
        pub(crate) const PAGES: &[Page] = &[
            $(Page { code: $code, text: include_str!(concat!("../docs/codes/", $code, ".md")) }),*
        ];
    };
}

pages![];
