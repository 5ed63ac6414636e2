//! Cases that nattrace is tested on, and their loader.
