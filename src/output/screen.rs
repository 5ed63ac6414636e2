//! Where answers go: standard output, or the terminal itself.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};

/// The width where nobody can tell it.
const DEFAULT_WIDTH: usize = 80;

/// Beyond this, lines are tiring to read.
const WIDEST: usize = 140;

/// An output with what is known of it.
pub(crate) struct Screen {
    out: BufWriter<Box<dyn Write>>,
    color: bool,
    width: usize,
}

impl Screen {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let color = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self::new(width_of(&stdout), color, Box::new(stdout))
    }

    /// The terminal of this process, or standard error where there is none.
    pub(crate) fn terminal() -> Self {
        if let Ok(terminal) = File::options().write(true).open("/dev/tty") {
            let color = AutoStream::choice(&terminal) != ColorChoice::Never;
            return Self::new(width_of(&terminal), color, Box::new(terminal));
        }
        let stderr = io::stderr();
        let color = AutoStream::choice(&stderr) != ColorChoice::Never;
        Self::new(width_of(&stderr), color, Box::new(stderr))
    }

    fn new(width: usize, color: bool, stream: Box<dyn Write>) -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, stream), color, width }
    }

    /// How many columns there are.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Writes text with styles; they are taken out where the output shows none.
    pub(crate) fn write_styled(&mut self, text: &str) -> io::Result<()> {
        if self.color {
            self.out.write_all(text.as_bytes())
        } else {
            write!(self.out, "{}", anstream::adapter::strip_str(text))
        }
    }

    /// The output itself, for formats without styles.
    pub(crate) fn raw(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Writes out what is still held back.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The width of a terminal; of anything else, one that suits a page.
pub(crate) fn width_of(stream: &(impl AsFd + IsTerminal)) -> usize {
    if !stream.is_terminal() {
        return DEFAULT_WIDTH;
    }
    let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| size.ws_col);
    match usize::from(columns) {
        0 => DEFAULT_WIDTH,
        columns => columns.clamp(40, WIDEST),
    }
}
