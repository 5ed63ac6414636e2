//! Policies: what must hold for every packet, on which packets, and where they may arrive.
//!
//! [`resolve`] takes the names of a policy file for what they mean on one host. What comes out
//! knows nothing of files: sets of addresses, interfaces and ports.

mod addresses;
mod names;
mod resolve;
mod schema;
mod side;
#[cfg(test)]
mod tests;
mod zone;

pub use addresses::AddressSet;
pub(crate) use names::is_to;
pub(crate) use names::unknown_places;
pub use names::{unknown_codes, unknown_given, unknown_names};
pub use resolve::{
    Demand, Exception, Property, Question, Unchanged, kind, resolve, title, with_zones,
};
pub use schema::schema;
pub use side::{Landing, Service, Side, Spot, Where};
pub(crate) use zone::{Breadth, Zones};
