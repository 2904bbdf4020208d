//! What a version says of the running of its nodes: tables of what holds and of what is refused. They stand outside the core's
//! source because they are full of JSON pointers, which there nothing may name.

mod condition;
mod directive;
mod work;
