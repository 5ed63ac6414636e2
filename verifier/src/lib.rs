//! Answers for every packet at once.
