//! The faults of a drill: one after the other, each when the last one is over; or a storm.

use super::drive::{IN_SYNC_PATIENCE, Run, SERVED_PATIENCE};
use super::group::MEMBERS;
use super::report::{Fault, Step, signal};
use super::scenario::{How, Plan, Roles, Scenario};
use super::watch::Silences;
use anyhow::{Result, bail};
use ottla_types::{Monotonic, NodeId, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long there may be nobody to hit.
const VICTIM_PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before it is looked again whom to hit.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long somebody may take to say who is what while a storm goes on.
const ROLES_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked what a storm has come to.
const TICK: Duration = Duration::from_millis(20);

impl Run<'_> {
    /// Hits, waits until all is well, and hits again.
    pub(super) async fn one_after_the_other(&mut self) -> Result<()> {
        let (scenario, extent) = (self.drill.scenario, self.drill.extent);
        while !self.is_over() {
            let number = self.faults.len() + 1;
            let Some((roles, plan)) = self.choose(number).await? else { return Ok(()) };
            let fault = self.strike(number, &roles, &plan).await?;
            self.story.fault(scenario, extent, &fault);
            self.faults.push(fault);
            self.story.progress(scenario, extent, self.faults.len(), self.took());
            if !self.failures.is_empty() {
                return Ok(());
            }
            self.pause(Instant::now() + plan.pause).await;
        }
        Ok(())
    }

    /// Chooses a victim; `None` when the drill ends.
    async fn choose(&mut self, number: usize) -> Result<Option<(Roles, Plan)>> {
        let deadline = Instant::now() + VICTIM_PATIENCE;
        let mut last = anyhow::anyhow!("nobody is what this scenario hits");
        while !*self.stop.borrow() {
            match self.cluster.roles(&self.nodes, &self.topic, &self.workload.shared.group).await {
                Ok(roles) => {
                    if let Some(plan) = self.drill.scenario.plan(&roles, number, &mut self.random) {
                        return Ok(Some((roles, plan)));
                    }
                }
                Err(error) => last = error,
            }
            if Instant::now() >= deadline {
                bail!("no node could be chosen for {} s: {last:#}", VICTIM_PATIENCE.as_secs());
            }
            self.pause(Instant::now() + LOOK_EVERY).await;
        }
        Ok(None)
    }

    /// One fault, from the blow until all is well.
    async fn strike(&mut self, number: usize, roles: &Roles, plan: &Plan) -> Result<Fault> {
        let (index, mut fault) = self.hit(number, roles, plan).await?;
        if plan.how == How::Stop {
            self.nodes.ended(&plan.victims).await?;
            fault.steps.push(self.step(&fault, "ended", "drill"));
        }
        let back_at = Instant::now() + plan.away;
        // Who is killed comes back when the others have taken over: that is what is looked at. Where all are gone, nobody
        // does; and a node goes on by itself after a while, whatever the others made of it.
        let waits_for_others = plan.how == How::Kill && plan.victims.len() < roles.nodes.len();
        if waits_for_others {
            self.wait_until_over(index, &fault, Instant::now() + SERVED_PATIENCE).await;
        }
        self.pause(back_at).await;
        self.nodes.bring_back(&plan.victims).await?;
        fault.away = Some(self.clock.monotonic() - fault.at.monotonic);
        let back = if plan.how == How::Freeze { "goes on (SIGCONT)" } else { "started again" };
        fault.steps.push(self.step(&fault, back, "drill"));
        if !self.wait_until_over(index, &fault, Instant::now() + SERVED_PATIENCE).await
            && !*self.stop.borrow()
        {
            self.failures.push(unserved(&fault, &self.workload.shared.watch.silences(index)));
        }
        if let Some(partitions) = self.wait_until_in_sync(Instant::now() + IN_SYNC_PATIENCE).await {
            fault.in_sync = Some(self.clock.monotonic() - fault.at.monotonic);
            let replicas = self.topic.replication_factor;
            let what = format!("in sync: {} partitions x{replicas}", partitions.len());
            fault.steps.push(self.step(&fault, &what, "cluster"));
        } else if !*self.stop.borrow() {
            let seconds = IN_SYNC_PATIENCE.as_secs();
            self.failures.push(format!("fault {number}: replicas are not in sync after {seconds} s"));
        }
        self.finish(index, &mut fault);
        fault.steps.extend(self.explain(&fault, None).await);
        in_order(&mut fault.steps);
        Ok(fault)
    }

    /// The blow.
    async fn hit(&mut self, number: usize, roles: &Roles, plan: &Plan) -> Result<(usize, Fault)> {
        let (clock, shared) = (self.clock, self.workload.shared.clone());
        let mut begun = None;
        let begin = || {
            let now = clock.now();
            begun = Some((shared.watch.open(now.monotonic), now));
        };
        self.nodes.hit(&plan.victims, plan.how, begin).await?;
        let (index, at) = begun.expect("a blow has a moment");
        let is_hit = |node: Option<NodeId>| node.is_some_and(|node| plan.victims.contains(&node));
        let fault = Fault {
            number,
            at,
            victims: plan.victims.clone(),
            how: plan.how,
            led: roles.led_by(&plan.victims),
            partitions: self.workload.shared.partitions.len(),
            is_controller: is_hit(roles.controller),
            is_coordinator: is_hit(roles.coordinator),
            silences: Silences::default(),
            group: None,
            rebalanced: false,
            away: None,
            in_sync: None,
            steps: vec![Step {
                after: Some(Duration::ZERO),
                what: signal(plan.how).to_owned(),
                by: "drill".to_owned(),
            }],
        };
        Ok((index, fault))
    }

    /// Waits until what the victims led is acknowledged again, and the group commits again if they coordinated it.
    async fn wait_until_over(&self, index: usize, fault: &Fault, deadline: Instant) -> bool {
        let watch = &self.workload.shared.watch;
        let is_over = || {
            let silences = watch.silences(index);
            silences.are_over(&fault.led) && (!fault.is_coordinator || silences.group(MEMBERS).is_some())
        };
        self.wait(deadline, is_over).await
    }

    /// What the clients have seen of a fault.
    fn finish(&self, index: usize, fault: &mut Fault) {
        let watch = &self.workload.shared.watch;
        watch.close(index);
        let silences = watch.silences(index);
        fault.group = silences.group(MEMBERS);
        fault.rebalanced = watch.generation() != silences.generation;
        fault.silences = silences;
    }

    /// What others say of a fault: clients, and the cluster where it does.
    async fn explain(&self, fault: &Fault, until: Option<Timestamp>) -> Vec<Step> {
        let mut steps = match &self.chronicle {
            Some(chronicle) => chronicle.steps(&fault.victims, fault.at.wall, until, &self.topic.name).await,
            None => vec![Step {
                after: None,
                what: "noticed, and leaders moved: cause unknown".to_owned(),
                by: "not told by this cluster".to_owned(),
            }],
        };
        let step = |after, what: String, by: &str| Step { after: Some(after), what, by: by.to_owned() };
        if fault.how == How::Stop {
            if let Some((at, gap)) = fault.waits().max_by_key(|&(_, gap)| gap) {
                let what = format!("longest gap between acknowledgements: {} ms (-{at})", gap.as_millis());
                steps.push(Step { after: None, what, by: "producer".to_owned() });
            }
            return steps;
        }
        let mut waits: Vec<(Duration, i32)> = fault.waits().map(|(at, wait)| (wait, at)).collect();
        waits.sort_unstable();
        if let Some(&(after, at)) = waits.first() {
            steps.push(step(after, format!("first acknowledged again: -{at}"), "producer"));
        }
        if let [_, .., (after, at)] = waits[..] {
            steps.push(step(after, format!("last acknowledged again: -{at}"), "producer"));
        }
        if let Some(after) = fault.group.filter(|_| fault.is_coordinator) {
            let shares = if fault.rebalanced { "new shares" } else { "same shares" };
            steps.push(step(after, format!("all members commit again, {shares}"), "group"));
        }
        steps
    }

    fn step(&self, fault: &Fault, what: &str, by: &str) -> Step {
        let after = self.clock.monotonic() - fault.at.monotonic;
        Step { after: Some(after), what: what.to_owned(), by: by.to_owned() }
    }

    /// Lets time pass, unless the drill ends.
    async fn pause(&self, until: Instant) {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // An error means that nobody can stop it any more.
            _ = stop.wait_for(|&stop| stop) => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// Hits one node after the other, whoever is away; waits at the end until all is well.
    pub(super) async fn storm(&mut self) -> Result<()> {
        let (scenario, extent) = (self.drill.scenario, self.drill.extent);
        let mut open: Vec<usize> = Vec::new();
        let mut due_back: Vec<(Monotonic, usize)> = Vec::new();
        let mut next_at = self.clock.monotonic();
        while !self.is_over() {
            let now = self.clock.monotonic();
            self.return_those_due(now, &mut due_back)?;
            self.nodes.look().await?;
            if now >= next_at {
                let number = self.faults.len() + 1;
                next_at = now + LOOK_EVERY;
                if let Some((roles, plan)) = self.choose_now(number).await {
                    let (index, fault) = self.hit(number, &roles, &plan).await?;
                    self.story.struck(scenario, extent, &fault);
                    due_back.push((fault.at.monotonic + plan.away, self.faults.len()));
                    next_at = fault.at.monotonic + plan.pause;
                    self.faults.push(fault);
                    open.push(index);
                    self.story.progress(scenario, extent, self.faults.len(), self.took());
                }
            }
            self.pause(Instant::now() + TICK).await;
        }
        for (_, at) in due_back {
            self.faults[at].away = Some(self.clock.monotonic() - self.faults[at].at.monotonic);
        }
        self.nodes.bring_all_back().await?;
        self.calm_down(&open).await;
        Ok(())
    }

    fn return_those_due(&mut self, now: Monotonic, due_back: &mut Vec<(Monotonic, usize)>) -> Result<()> {
        let due: Vec<usize> = due_back.iter().filter(|(at, _)| *at <= now).map(|&(_, fault)| fault).collect();
        due_back.retain(|(at, _)| *at > now);
        for at in due {
            let fault = &mut self.faults[at];
            fault.away = Some(now - fault.at.monotonic);
            for &node in &fault.victims {
                self.nodes.begin_return(node)?;
            }
        }
        Ok(())
    }

    /// Whom to hit, if somebody says who is what, and soon.
    async fn choose_now(&mut self, number: usize) -> Option<(Roles, Plan)> {
        let roles = self.cluster.roles(&self.nodes, &self.topic, &self.workload.shared.group);
        let roles = tokio::time::timeout(ROLES_PATIENCE, roles).await.ok()?.ok()?;
        let plan = Scenario::plan(self.drill.scenario, &roles, number, &mut self.random)?;
        Some((roles, plan))
    }

    /// Everybody is back: all must be well, and what each fault did is known.
    async fn calm_down(&mut self, open: &[usize]) {
        let deadline = Instant::now() + SERVED_PATIENCE;
        let mut faults = std::mem::take(&mut self.faults);
        // What happened to a node after it was hit once more is of that fault.
        let hits: Vec<(Vec<NodeId>, Timestamp)> =
            faults.iter().map(|fault| (fault.victims.clone(), fault.at.wall)).collect();
        let now = self.clock.now().wall;
        for ((number, fault), &index) in faults.iter_mut().enumerate().zip(open) {
            let again = hits[number + 1..].iter().find(|(victims, _)| *victims == fault.victims);
            let until = again.map_or(now, |&(_, at)| at);
            if !self.wait_until_over(index, fault, deadline).await && !*self.stop.borrow() {
                self.failures.push(unserved(fault, &self.workload.shared.watch.silences(index)));
            }
            self.finish(index, fault);
            fault.steps.extend(self.explain(fault, Some(until)).await);
            in_order(&mut fault.steps);
            self.story.fault(self.drill.scenario, self.drill.extent, fault);
        }
        self.faults = faults;
    }
}

/// Steps by time; what has none stands behind the first.
fn in_order(steps: &mut [Step]) {
    steps.sort_by_key(|step| step.after.unwrap_or(Duration::from_nanos(1)));
}

fn unserved(fault: &Fault, silences: &Silences) -> String {
    let silent: BTreeSet<String> = fault
        .led
        .iter()
        .filter(|partition| !silences.partitions.contains_key(partition))
        .map(|partition| format!("-{partition}"))
        .collect();
    let silent: Vec<String> = silent.into_iter().collect();
    let what = if silent.is_empty() {
        "the group does not commit".to_owned()
    } else {
        format!("partitions {} do not acknowledge", silent.join(", "))
    };
    format!("fault {}: {what} again within {} s", fault.number, SERVED_PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::fault;
    use super::*;

    #[test]
    fn steps_stand_in_order_and_what_has_no_time_behind_the_first() {
        let step = |after: Option<u64>| Step {
            after: after.map(Duration::from_millis),
            what: String::new(),
            by: String::new(),
        };
        let mut steps = vec![step(Some(30)), step(None), step(Some(0)), step(Some(5))];

        in_order(&mut steps);

        let times: Vec<Option<u128>> =
            steps.iter().map(|step| step.after.map(|after| after.as_millis())).collect();
        assert_eq!(times, [Some(0), None, Some(5), Some(30)]);
    }

    #[test]
    fn who_is_not_served_is_named() {
        let fault = fault(3, How::Kill);
        let mut silences = Silences::default();
        assert_eq!(
            unserved(&fault, &silences),
            "fault 3: partitions -0, -6 do not acknowledge again within 60 s"
        );

        silences.partitions = [(0, Duration::ZERO), (6, Duration::ZERO)].into();
        assert_eq!(unserved(&fault, &silences), "fault 3: the group does not commit again within 60 s");
    }
}
