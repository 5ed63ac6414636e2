//! Listings of every kind.
