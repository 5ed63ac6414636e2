//! Classes that are deliberately wrong, for tests of what is said where nattrace contradicts itself.
//!
//! The walk believes what the simulator says of one packet of a class. Here it is told something
//! else; whoever asks the simulator about a packet of that class then hears another thing.

mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nattrace_model::System;
use nattrace_model::answer::Answer;

use crate::header::Header;

/// Changes what the walk hears of a packet; it is asked about every packet of every test, so it
/// has to look closely which one it is.
type Wrong = Arc<dyn Fn(&System, &Header, &mut Answer) + Send + Sync>;

static PLANTED: Mutex<Vec<(usize, Wrong)>> = Mutex::new(Vec::new());
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A fault, as long as it lives.
pub(super) struct Fault(usize);

impl Fault {
    pub(super) fn plant(
        wrong: impl Fn(&System, &Header, &mut Answer) + Send + Sync + 'static,
    ) -> Self {
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        PLANTED.lock().unwrap_or_else(PoisonError::into_inner).push((own, Arc::new(wrong)));
        Self(own)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        planted.retain(|(own, _)| *own != self.0);
    }
}

/// What the walk hears of a packet.
pub(super) fn heard(system: &System, header: &Header, mut answer: Answer) -> Answer {
    let planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    planted.iter().for_each(|(_, wrong)| wrong(system, header, &mut answer));
    answer
}
