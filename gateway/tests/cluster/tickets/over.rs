//! A ticket that is over is not opened anew by its id as long as it is kept, whoever asks and on whatever node.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wsc_config::TicketConfig;
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::{
    Bell, Command, DeskError, Manual, NewTicket, Party, Queue, Refusal, Reply, Rules, clerk,
};

use super::stores::Stored;
use crate::support::nodes::within;

over_both!(
    Stored:
    a_ticket_that_is_over_is_not_opened_anew,
    a_ticket_that_is_over_and_forgotten_is_opened_anew,
    closing_and_opening_asked_for_at_once_do_not_make_a_second_ticket,
);

const HOUR: u64 = 3_600_000;

fn ticket(id: &str) -> TicketId {
    TicketId::new(id).unwrap()
}

fn open(id: &str, customer: &str) -> Command {
    Command::Open(NewTicket {
        id: ticket(id),
        customer: UserId::new(customer).unwrap(),
        queue: Queue::default(),
        priority: Priority::Normal,
        subject: None,
    })
}

fn close(id: &str) -> Command {
    Command::Close {
        ticket: ticket(id),
        by: Party::User(UserId::new("alice").unwrap()),
    }
}

/// The desk on a node that keeps what is over for so long.
async fn desk(stored: &Stored, node: &str, keep: u64) -> Bell {
    let (news, mut heard) = mpsc::channel(16);
    let manual = Manual {
        rules: Rules::from(&TicketConfig::default()),
        keep,
        record: true,
    };
    let (bell, clerk) = clerk(stored.of_node(node).await, manual, news);
    tokio::spawn(clerk.run(CancellationToken::new()));
    tokio::spawn(async move { while heard.recv().await.is_some() {} });
    bell
}

/// How the ticket is, as the answer to an order says.
async fn state(bell: &Bell, command: Command) -> String {
    match bell.ask(command).await {
        Ok(Reply::Ticket(ticket, _)) => ticket.state.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

async fn steps(bell: &Bell) -> usize {
    bell.store().records(&ticket("t1")).await.unwrap().len()
}

async fn a_ticket_that_is_over_is_not_opened_anew(s: Stored) {
    let (one, two) = (desk(&s, "one", HOUR).await, desk(&s, "two", HOUR).await);
    assert_eq!(state(&one, open("t1", "alice")).await, "waiting");
    assert_eq!(state(&two, open("t1", "alice")).await, "waiting");
    one.ask(close("t1")).await.unwrap();
    let made = steps(&one).await;
    for bell in [&one, &two] {
        assert_eq!(state(bell, open("t1", "alice")).await, "closed");
        let taken = bell.ask(open("t1", "bob")).await;
        let Err(DeskError::Refused(refusal)) = taken else {
            panic!("{taken:?}");
        };
        assert_eq!(refusal, Refusal::Taken(ticket("t1")));
    }
    assert_eq!(steps(&two).await, made, "nothing has happened");
}

async fn a_ticket_that_is_over_and_forgotten_is_opened_anew(s: Stored) {
    let bell = desk(&s, "one", 100).await;
    assert_eq!(state(&bell, open("t1", "alice")).await, "waiting");
    bell.ask(close("t1")).await.unwrap();
    within(5, "it is forgotten", async || {
        state(&bell, open("t1", "alice")).await == "waiting"
    })
    .await;
}

async fn closing_and_opening_asked_for_at_once_do_not_make_a_second_ticket(s: Stored) {
    let bell = desk(&s, "one", HOUR).await;
    for n in 0..20 {
        let id = format!("t{n}");
        state(&bell, open(&id, "alice")).await;
        let both = tokio::join!(bell.ask(close(&id)), state(&bell, open(&id, "alice")));
        assert_eq!(both.1, "closed");
    }
    let open = bell.look(|desk, _| desk.tickets().count()).await.unwrap();
    assert_eq!(open, 0);
}
