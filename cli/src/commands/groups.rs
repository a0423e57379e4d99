//! `groups`: making and ending groups, who is in them, and messages to all of a group.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::send::Content;
use crate::Failure;
use crate::api::{Api, encode};
use crate::connection::Connection;
use crate::output::{Format, Table, print, print_list};

/// What to do with groups.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wscctl groups create room-7 --owner alice
  wscctl groups add room-7 bob carol
  wscctl groups send room-7 'Welcome'
  wscctl groups members room-7 --output json")]
pub struct GroupsCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the groups that a user is in.
    List {
        /// The user.
        user: String,
    },
    /// Tells what is known of a group.
    Show {
        /// The group.
        group: String,
    },
    /// Lists the members of a group, in the order of joining.
    Members {
        /// The group.
        group: String,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Makes a group without members; it lasts until it is disbanded.
    Create {
        /// The group.
        group: String,
        /// The user who may disband it, beside admins.
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
    },
    /// Ends a group and all memberships in it.
    Disband {
        /// The group.
        group: String,
    },
    /// Makes users members.
    Add {
        /// The group.
        group: String,
        /// The users.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Ends memberships.
    Remove {
        /// The group.
        group: String,
        /// The users.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Sends a message to every member.
    Send {
        /// The group.
        group: String,
        #[command(flatten)]
        message: Content,
    },
}

pub(crate) async fn run(
    command: &GroupsCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let answer = match &command.what {
        What::List { user } => {
            let path = format!("/v1/users/{}/groups", encode(user));
            let answer = api.get(&path).await?;
            return Ok(print_list(format, &answer, ("groups", &["id", "since"]))?);
        }
        What::Members { group, limit } => {
            let path = format!("{}/members", of(group));
            let answer = api.pages((&path, "members"), &[], *limit).await?;
            return Ok(print_list(
                format,
                &answer,
                ("members", &["user_id", "since"]),
            )?);
        }
        What::Add { group, users } => {
            let answer = add(&api, group, users).await?;
            let fields = ["user_id", "since", "already"];
            return Ok(print_list(format, &answer, ("members", &fields))?);
        }
        What::Remove { group, users } => {
            for user in users {
                api.delete(&member(group, user)).await?;
            }
            json!({ "id": group, "removed": users })
        }
        What::Show { group } => api.get(&of(group)).await?,
        What::Create { group, owner } => {
            let mut body = json!({ "id": group });
            if let (Some(owner), Some(body)) = (owner, body.as_object_mut()) {
                body.insert("owner".to_owned(), json!(owner));
            }
            api.post("/v1/groups", &body).await?
        }
        What::Disband { group } => api.delete(&of(group)).await?,
        What::Send { group, message } => {
            let path = format!("{}/messages", of(group));
            api.post(&path, &message.body()?.into()).await?
        }
    };
    print(format, &answer, Table::fields)?;
    Ok(())
}

fn of(group: &str) -> String {
    format!("/v1/groups/{}", encode(group))
}

fn member(group: &str, user: &str) -> String {
    format!("{}/members/{}", of(group), encode(user))
}

async fn add(api: &Api, group: &str, users: &[String]) -> Result<Value, Failure> {
    let mut members = Vec::with_capacity(users.len());
    for user in users {
        members.push(api.put(&member(group, user), None).await?);
    }
    Ok(json!({ "members": members }))
}
