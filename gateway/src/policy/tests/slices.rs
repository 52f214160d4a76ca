//! What is asked of whom: fewer policies, told less, decide as all of them told all.

use super::*;

/// Asking some of the policies is as good as asking all of them, and asking in two steps as asking in one.
#[test]
fn slices_decide_as_all_policies_together() {
    // Policies of all shapes of scope beside our own.
    let more = r#"
        @id("one") forbid (principal, action == Action::"tenants:suspend", resource)
        when { principal.mfa };
        @id("some") forbid (principal is Person, action in [Action::"users:list", Action::"users:read"], resource)
        when { principal.kind == Kind::"client" };
        @id("any") forbid (principal, action, resource is Tenant) when { resource.status == Status::"trial" };
        @id("group") permit (principal is Operator, action in Action::"platform", resource is Tenant)
        when { principal.role == Role::"supervisor" };
    "#;
    for authorizer in [authorizer(), with(more).unwrap()] {
        let all = PolicySet::from_policies(authorizer.builtin.iter().cloned()).unwrap();
        let slices = authorizer.slices.read().unwrap().clone();
        let (mut asked, mut smaller) = (0, 0);
        for endpoint in &endpoints() {
            let slice = slices.get(endpoint.action).unwrap();
            smaller += usize::from(slice.permits.num_of_policies() < all.num_of_policies() / 2);
            for case in &cases() {
                let question = case.question(endpoint);
                // All of it, where a decision keeps itself to what policies look at.
                let facts = Facts::of(&question, Regards { when: true, whom: true });
                let (principal, resource) = authorizer.words.types(&facts);
                if slice.ground.foresees(principal, resource) {
                    let (request, known) = authorizer.words.put(&facts, &slice.ground).unwrap();
                    let together = authorizer.cedar.is_authorized(&request, &all, &known);
                    assert_eq!(together.diagnostics().errors().count(), 0);
                    let together = together.decision() == cedar_policy::Decision::Allow;
                    assert_eq!(authorizer.decide(&question).allowed, together, "{question:?}");
                    asked += 1;
                }
            }
        }
        assert!(asked > 1000 && smaller > 10, "{asked} questions, {smaller} slices are smaller");
    }
}

/// Policies are checked for what the schema says; so what they are told must be that.
#[test]
fn questions_are_as_the_schema_says() {
    // What time it is, is told only where some policy looks at it.
    let authorizer = with(
        r#"@id("over") forbid (principal, action, resource) when { context.now > datetime("2100-01-01") };"#,
    );
    let authorizer = authorizer.unwrap();
    let validator = sources::read_schema(&Sources::builtin().schema).unwrap();
    let (schema, slices) = (validator.schema(), authorizer.slices.read().unwrap().clone());
    for endpoint in &endpoints() {
        let slice = slices.get(endpoint.action).unwrap();
        for case in &cases() {
            let mut question = case.question(endpoint);
            if let Resource::Tenant { status, .. } = &mut question.resource {
                *status = (case.kind == MembershipKind::Client).then_some(TenantStatus::Trial);
            }
            let facts = Facts::of(&question, slice.regards);
            let (principal, resource) = authorizer.words.types(&facts);
            if !slice.ground.foresees(principal, resource) {
                continue;
            }
            let (request, known) = authorizer.words.put(&facts, &slice.ground).unwrap();
            let (asks, about) = (request.principal().unwrap().clone(), request.resource().unwrap().clone());
            let context = request.context().unwrap().clone();
            let action = slice.ground.action.clone();
            Request::new(asks, action, about, context, Some(schema))
                .unwrap_or_else(|error| panic!("{error}"));
            Entities::from_entities(known.iter().cloned(), Some(schema))
                .unwrap_or_else(|error| panic!("{}: {case:?}: {error}", endpoint.action));
        }
    }
}
