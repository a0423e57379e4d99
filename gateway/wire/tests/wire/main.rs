//! What the crate promises, tested from outside. One binary, so that the generators and the oracle are built once.

#[cfg(test)]
mod deflate;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod rfc_examples;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod splitting;
#[cfg(test)]
mod support;
