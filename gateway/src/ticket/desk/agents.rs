//! Agents come, say how they are, and go.

use super::Reply;
use super::steps::Steps;
use crate::protocol::UserId;
use crate::ticket::{Agent, Availability, Queue};

/// What an agent's news mean for the tickets it has let pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// It came, or said how it is: it may be asked again.
    Ready,
    /// Anything else.
    Other,
}

impl Steps<'_> {
    pub(super) fn status(
        &mut self,
        id: &UserId,
        availability: Option<Availability>,
        skills: Option<&Queue>,
        max: Option<u32>,
    ) -> Reply {
        let before = self.known(id);
        let mut agent = before.clone();
        agent.availability = availability.unwrap_or(agent.availability);
        agent.skills = skills.cloned().unwrap_or(agent.skills);
        agent.max = max.or(agent.max);
        let news = match availability {
            Some(_) => News::Ready,
            None => News::Other,
        };
        self.settle_agent(&before, agent, news)
    }

    pub(super) fn presence(&mut self, id: &UserId, connected: bool) -> Reply {
        let before = self.known(id);
        if !connected && !self.desk.agents.contains_key(id) {
            return Reply::Done;
        }
        let mut agent = before.clone();
        agent.connected = connected;
        let news = if connected && !before.connected {
            News::Ready
        } else {
            News::Other
        };
        self.settle_agent(&before, agent, news)
    }

    fn known(&self, id: &UserId) -> Agent {
        let known = self.desk.agents.get(id).cloned();
        known.unwrap_or_else(|| Agent::new(id.clone()))
    }

    /// Writes the agent down, tells of it, and gives it what it can take now.
    fn settle_agent(&mut self, before: &Agent, mut agent: Agent, news: News) -> Reply {
        agent.note_presence(self.moment.now);
        let known = self.desk.agents.contains_key(&agent.id);
        if agent != *before || !known || news == News::Ready {
            self.desk.put_agent(agent.clone());
            self.desk.tell_of_agent(self.moment.now, &agent);
        }
        if news == News::Ready && agent.is() == Availability::Online {
            self.welcome_back(&agent.id);
        } else {
            self.give_to(&agent.id);
        }
        let agent = self.known(&agent.id);
        Reply::Agent(Box::new(agent))
    }
}
