//! The ticket desk: random histories against a model, the stores by one suite, and several nodes at once.

mod answers;
mod chance;
mod histories;
mod model;
mod nodes;
mod over;
mod rules;
mod stores;
