//! `Place`: a connection's place in its shard, freed when its reading task ends, however it ends.

use std::rc::Rc;

use super::Connection;
use crate::hub::Shard;
use crate::protocol::Disconnect;

/// See the module.
pub(super) struct Place {
    pub(super) shard: Rc<Shard>,
    pub(super) connection: Rc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A second call is a no-op: whoever began the end has said why.
        self.connection.begin_close(Disconnect::ConnectionLost);
        self.shard.leave(&self.connection);
    }
}
