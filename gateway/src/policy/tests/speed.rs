//! What a decision costs.

use super::*;

/// `cargo nextest run --release --run-ignored only --no-capture -E 'test(how_long_a_decision_takes)'`
#[test]
#[ignore = "a measurement"]
fn how_long_a_decision_takes() {
    let authorizer = authorizer();
    let map = url_map();
    for (action, role, scope) in [
        ("flags:poll", Role::Application, Some(Scope::FlagRead)),
        ("users:list", Role::Owner, None),
        ("tenants:suspend", Role::Operator, None),
        ("tenants:list", Role::Operator, None),
        ("users:list", Role::User, None),
    ] {
        let endpoint = map.endpoints().find(|endpoint| endpoint.action == action).unwrap();
        let tenant = role.is_tenant().then_some(OWN);
        let (kind, mode) = (MembershipKind::Staff, AccessMode::Active);
        let (caller, standing) = (caller(role, scope, tenant), Standing::Own);
        let case = Case { caller, standing, kind, holds: false, mode, mfa_required: false, mfa: false };
        let question = case.question(endpoint);
        let times = 100_000_u32;
        let begun = std::time::Instant::now();
        let allowed = (0..times).filter(|_| authorizer.decide(&question).allowed).count();
        let took = begun.elapsed() / times;
        println!("{action} as {role}: {:.2} µs a decision", took.as_secs_f64() * 1e6);
        assert!(allowed == 0 || allowed == times as usize);
    }
}
