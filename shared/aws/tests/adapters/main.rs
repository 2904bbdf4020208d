//! The second ring: the adapters over real HTTP, against an embedded DynamoDB, scripted AWS services and local
//! webhook receivers.

mod boards;
mod call;
mod catalog;
mod connector;
mod control;
mod costs;
mod crowd;
mod deadline;
mod definitions;
mod engine;
mod governor;
mod heads;
mod items;
mod lists;
mod operations;
mod outside;
mod purge;
mod races;
mod round_trips;
mod rules;
mod runner;
mod scale;
mod slots;
mod store;
mod support;
mod sweep;
mod webhook;
