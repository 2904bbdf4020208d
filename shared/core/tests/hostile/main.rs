//! What comes from outside with bad intentions: URLs, schemas, and bytes of every kind.

mod destinations;
mod parsers;
mod schemas;
