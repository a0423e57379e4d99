//! `ApiCall`: which call of the API it was and what became of it, as the labels of its histogram and the name of its span.

use prometheus_client::encoding::EncodeLabelSet;

use super::label::label;

label! {
    /// Which skin of the API.
    ApiKind {
        /// HTTP.
        Http = "http",
        /// gRPC.
        Grpc = "grpc",
    }
}

label! {
    /// What became of a call.
    ApiOutcome {
        /// Done.
        Ok = "ok",
        /// The caller asked for something wrong.
        Invalid = "invalid",
        /// The caller's key is missing or wrong.
        Unauthenticated = "unauthenticated",
        /// A queue was full.
        Busy = "busy",
        /// The cluster could not be reached.
        Unavailable = "unavailable",
        /// Not done within the deadline.
        Deadline = "deadline",
        /// The gateway failed at something it should not have.
        Internal = "internal",
    }
}

/// Calls by their words; a span's name is made of the same word.
macro_rules! calls {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        label! { $(#[$meta])* $name { $($(#[$vmeta])* $variant = $word),+ } }

        impl $name {
            /// The name of a call's span.
            pub const fn span(self) -> &'static str {
                match self { $(Self::$variant => concat!("wsc.api.", $word)),+ }
            }
        }
    };
}

calls! {
    /// Which call.
    ApiMethod {
        /// To users.
        Send = "send",
        /// To everyone.
        Broadcast = "broadcast",
        /// Users online.
        ListOnline = "list_online",
        /// Sessions of a user.
        ListSessions = "list_sessions",
        /// Ending sessions.
        Kick = "kick",
        /// Taking tokens back.
        Revoke = "revoke",
        /// A durable log.
        ReadLog = "read_log",
        /// Records of a sender.
        ListRecords = "list_records",
        /// Counts.
        Stats = "stats",
        /// A new group.
        CreateGroup = "create_group",
        /// The end of a group.
        DisbandGroup = "disband_group",
        /// What is known of a group.
        GetGroup = "get_group",
        /// Members of a group.
        ListMembers = "list_members",
        /// A new member.
        AddMember = "add_member",
        /// The end of a membership.
        RemoveMember = "remove_member",
        /// Groups of a user.
        ListGroups = "list_groups",
        /// To a group.
        SendToGroup = "send_to_group",
        /// A new ticket.
        OpenTicket = "open_ticket",
        /// Tickets.
        ListTickets = "list_tickets",
        /// How a ticket stands.
        GetTicket = "get_ticket",
        /// What happened to a ticket.
        ListSteps = "list_steps",
        /// A ticket for an agent, at once.
        AssignTicket = "assign_ticket",
        /// A ticket for an agent or a queue.
        TransferTicket = "transfer_ticket",
        /// The end of a ticket.
        CloseTicket = "close_ticket",
        /// To a ticket.
        SendToTicket = "send_to_ticket",
        /// Agents.
        ListAgents = "list_agents",
        /// How an agent is.
        GetAgent = "get_agent",
        /// How an agent is from now on.
        SetAgent = "set_agent",
        /// Queues.
        ListQueues = "list_queues",
    }
}

/// The labels of one API call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiCall {
    /// Which skin.
    pub api: ApiKind,
    /// Which call.
    pub method: ApiMethod,
    /// What became of it.
    pub outcome: ApiOutcome,
}
