//! Lines of a page: indented, wrapped, and with something at the right margin.

use std::fmt::Write;

use anstyle::Style;

/// The column at which the text of a row starts.
const ROW: usize = 9;

/// A page that is being written.
pub(super) struct Page {
    text: String,
    width: usize,
    indent: usize,
}

impl Page {
    pub(super) fn new(width: usize) -> Self {
        Self { text: String::new(), width, indent: 0 }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An empty line, unless there is one or the page starts here.
    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A line as it stands.
    pub(super) fn line(&mut self, styled: &str) {
        self.push_indent(0);
        self.text.push_str(styled);
        self.text.push('\n');
    }

    /// What is written meanwhile is indented.
    pub(super) fn indented(&mut self, write: impl FnOnce(&mut Self)) {
        self.indent += 4;
        write(self);
        self.indent -= 4;
    }

    /// A row with a label in front; `lead` styles so many of the first characters of the text.
    pub(super) fn row(
        &mut self,
        label: &str,
        styled: &str,
        text: &str,
        lead: Option<(usize, Style)>,
    ) {
        let padding = ROW.saturating_sub(label.len());
        let styled = format!("{styled}{}", " ".repeat(padding));
        let text =
            match lead.and_then(|(length, style)| Some((text.split_at_checked(length)?, style))) {
                Some(((first, rest), style)) => {
                    // Styles stay clear of the wrapping: they go around one word.
                    return self.wrap(
                        &styled,
                        ROW,
                        &format!("{style}{first}{style:#}{rest}"),
                        first.len() + rest.chars().count(),
                    );
                }
                None => text,
            };
        self.labelled(&styled, ROW, text);
    }

    /// Text behind a label of so many columns, wrapped under itself.
    pub(super) fn labelled(&mut self, label: &str, columns: usize, text: &str) {
        self.wrap(label, columns, text, text.chars().count());
    }

    fn wrap(&mut self, label: &str, columns: usize, text: &str, length: usize) {
        self.push_indent(0);
        self.text.push_str(label);
        let room = self.width.saturating_sub(self.indent + columns);
        if length <= room {
            self.text.push_str(text);
            self.text.push('\n');
            return;
        }
        let mut used = 0;
        for word in text.split(' ') {
            let size = anstream::adapter::strip_str(word).to_string().chars().count();
            if used > 0 && used + 1 + size > room {
                self.text.push('\n');
                self.push_indent(columns);
                used = 0;
            } else if used > 0 {
                self.text.push(' ');
                used += 1;
            }
            self.text.push_str(word);
            used += size;
        }
        self.text.push('\n');
    }

    /// Text wrapped under an indent, and behind it something at the right margin: on the last line
    /// if there is room, else on a line of its own.
    pub(super) fn both_ends(&mut self, indent: usize, left: &str, right: &str, style: Style) {
        self.labelled(&" ".repeat(indent), indent, left);
        if right.is_empty() {
            return;
        }
        self.text.pop();
        let line_start = self.text.rfind('\n').map_or(0, |newline| newline + 1);
        let used = self.text.get(line_start..).map_or(0, |line| line.chars().count());
        let size = right.chars().count();
        if used + 2 + size > self.width {
            self.text.push('\n');
            self.text.push_str(&" ".repeat(self.width.saturating_sub(size)));
        } else {
            self.text.push_str(&" ".repeat(self.width - size - used));
        }
        let _ = writeln!(self.text, "{style}{right}{style:#}");
    }

    fn push_indent(&mut self, more: usize) {
        self.text.push_str(&" ".repeat(self.indent + more));
    }
}
