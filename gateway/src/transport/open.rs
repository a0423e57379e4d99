//! How a connection becomes a session: the one way, whatever the transport and however its identity came.
//!
//! A list of steps, each of which may wait and may refuse. Frames that arrive meanwhile are held in order by the reader.

use std::rc::Rc;

use super::extended;
use crate::hub::Shard;
use crate::protocol::SessionId;
use crate::security::Identity;
use crate::transport::Connection;

/// What is known of a connection when it is to become a session.
#[derive(Debug)]
pub struct Opening {
    /// Who it is, verified.
    pub identity: Identity,
}

/// Makes a session of the connection, or closes it with the reason why not.
pub async fn open(shard: &Rc<Shard>, connection: &Rc<Connection>, opening: Opening) {
    if connection.is_closing() {
        return;
    }
    let Opening { identity } = opening;
    let session = SessionId::generate();
    let service = &shard.context().service;
    if !service.concerns_clients() {
        return shard.activate(connection, session, identity);
    }
    if let Some(client) = extended::admit(shard, connection, &identity, session).await {
        connection.set_client(client.clone());
        shard.activate(connection, session, identity);
        service.client_connected(&client);
    }
}
