//! Everything of nattrace that touches a live host.
