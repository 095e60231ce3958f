//! Servers that fold case (Express, IIS, file systems): what they take for another place, another
//! method or another field is refused, and no rule can be got around.

use crate::support::settings::Route;
use crate::support::{Edge, Settings, Upstream};

const KEY: &str = "[middleware.key]\ntype = \"api-key\"\n\
    keys = [\"61d034473102d7dac305902770471fd50f4c5b26f6831a56dd90b5184b3c30fc\"]\n";

/// An edge with these routes; `"key"` as a step wants an API key that nobody has here.
fn edge(routes: &[Route], tables: &str) -> Edge {
    let routes: String = routes.iter().map(Route::text).collect();
    Edge::configured(Settings::bare().and(&routes).and(tables)).start()
}

#[track_caller]
fn answers(edge: &Edge, rows: &[(&str, u16)]) {
    for (target, status) in rows {
        for http2 in [false, true] {
            let request = edge.get(target);
            let request = if http2 { request.http2() } else { request };
            assert_eq!(request.send().status, *status, "{target}, HTTP/2: {http2}");
        }
    }
}

#[test]
fn a_path_that_belongs_to_another_route_when_case_is_folded_is_400() {
    let upstream = Upstream::start();
    let edge = edge(
        &[
            Route::to("open", &upstream).prefix("/"),
            Route::to("admin", &upstream).prefix("/admin").steps(&["key"]),
            Route::to("fhir", &upstream).prefix("/Patient"),
            Route::to("host", &upstream)
                .prefix("/inner")
                .endpoint("hosts = [\"h.example\"]")
                .steps(&["key"]),
        ],
        KEY,
    );
    answers(
        &edge,
        &[
            ("/x", 200),
            ("/X/ADMIN", 200),
            ("/ADMINS", 200),
            ("/admin", 401),
            ("/admin/X", 401),
            ("/ADMIN", 400),
            ("/%41dmin", 400),
            ("/Admin/x", 400),
            ("/x/../ADMIN", 400),
            ("/ADMIN;x/y", 400),
            ("/ADMIN%2Fx", 400),
            ("/ADMIN%3fx", 400),
            ("/Patient/1", 200),
            ("/patient/1", 400),
            ("/INNER", 200),
        ],
    );
    assert_eq!(edge.get("/INNER").host("h.example").send().status, 400);
    assert_eq!(edge.get("/inner").host("h.example").send().status, 401);
}

#[test]
fn a_prefix_of_its_own_is_no_other_spelling() {
    let (upstream, shouting) = (Upstream::start(), Upstream::start());
    let edge = edge(
        &[
            Route::to("open", &upstream).prefix("/"),
            Route::to("low", &upstream).prefix("/admin").steps(&["key"]),
            Route::to("high", &shouting).prefix("/ADMIN"),
        ],
        KEY,
    );
    answers(&edge, &[("/admin/x", 401), ("/ADMIN/x", 200), ("/Admin/x", 400)]);
    assert_eq!(shouting.last().target(), "/x");
}

#[test]
fn only_the_pipeline_that_is_reached_can_say_that_case_counts() {
    let upstream = Upstream::start();
    let sensitive = |route: Route| route.pipeline("case_sensitive_paths = true");
    let edge = edge(
        &[
            sensitive(Route::to("open", &upstream).prefix("/")),
            Route::to("admin", &upstream).prefix("/admin").steps(&["key"]),
            sensitive(Route::to("keys", &upstream).prefix("/keys").steps(&["key"])),
            sensitive(Route::to("public", &upstream).prefix("/admin/Public")),
        ],
        KEY,
    );
    answers(
        &edge,
        &[
            ("/ADMIN", 400),
            ("/KEYS", 200),
            ("/keys", 401),
            ("/admin/Public", 200),
            ("/admin/public", 401),
            // The open place inside does not open the one around it.
            ("/ADMIN/Public", 400),
            ("/ADMIN/public", 400),
        ],
    );
}

#[test]
fn methods_fold_too() {
    let upstream = Upstream::start();
    let edge = edge(
        &[
            Route::to("rules", &upstream).prefix("/rules").steps(&["no-delete"]),
            Route::to("only", &upstream).prefix("/only").steps(&["get"]),
        ],
        "[middleware.no-delete]\ntype = \"policies\"\n\
         rules = [{ id = \"a\", type = \"allow_all\" }, { id = \"d\", type = \"method\", mode = \
         \"deny\", methods = [\"DELETE\"] }]\n\
         [middleware.get]\ntype = \"policies\"\nrules = [{ id = \"g\", type = \"method\", mode = \
         \"allow\", methods = [\"GET\"] }]\n",
    );
    for (method, target, status) in [
        ("GET", "/rules", 200),
        ("DELETE", "/rules", 403),
        ("delete", "/rules", 403),
        ("DeLeTe", "/rules", 403),
        ("PURGE", "/rules", 200),
        ("GET", "/only", 200),
        ("get", "/only", 403),
    ] {
        let found = edge.request(method, target).send().status;
        assert_eq!(found, status, "{method} {target}");
    }
}

#[test]
fn rules_hold_for_names_in_disguise_and_for_lists_of_types() {
    let upstream = Upstream::start();
    let edge = edge(
        &[
            Route::to("deny", &upstream).prefix("/deny").steps(&["deny"]),
            Route::to("allow", &upstream).prefix("/allow").steps(&["allow"]),
        ],
        "[middleware.deny]\ntype = \"policies\"\nrules = [{ id = \"a\", type = \"allow_all\" },\n\
         { id = \"h\", type = \"header\", mode = \"deny\", headers = [{ name = \"X-Debug\", \
         match_type = \"exists\" }] },\n\
         { id = \"q\", type = \"query_parameter\", mode = \"deny\", parameters = [{ name = \
         \"debug\", match_type = \"exists\" }] },\n\
         { id = \"c\", type = \"content_type\", mode = \"deny\", content_types = \
         [\"application/json\"] }]\n\
         [middleware.allow]\ntype = \"policies\"\n\
         rules = [{ id = \"c\", type = \"content_type\", mode = \"allow\", content_types = \
         [\"text/*\"] }]\n",
    );
    for (target, name, value, status) in [
        ("/deny", "X-Other", "1", 200),
        ("/deny", "X-Debug", "1", 403),
        ("/deny", "X_Debug", "1", 403),
        ("/deny", "x.debug", "1", 403),
        ("/deny", "X~Debug", "1", 403),
        ("/deny?Debug=1", "X-Other", "1", 403),
        ("/deny", "Content-Type", "text/plain", 200),
        ("/deny", "Content-Type", "Application/JSON;charset=utf-8", 403),
        ("/deny", "Content-Type", "text/plain, application/json", 403),
        ("/deny", "Content-Type", "application/json,", 403),
        ("/deny", "Content_Type", "application/json", 403),
        ("/allow", "Content-Type", "text/plain", 200),
        ("/allow", "Content-Type", "text/plain, text/csv", 200),
        ("/allow", "Content-Type", "text/plain, application/json", 403),
        ("/allow", "Content-Type", "application/json, text/plain", 403),
        ("/allow", "Content_Type", "text/plain", 403),
    ] {
        for http2 in [false, true] {
            let request = edge.get(target).header(name, value);
            let request = if http2 { request.http2() } else { request };
            assert_eq!(request.send().status, status, "{target} {name}: {value}");
        }
    }
}

#[test]
fn a_prefix_that_ends_with_its_word_takes_no_suffix() {
    let upstream = Upstream::start();
    let edge = edge(
        &[
            Route::to("open", &upstream).prefix("/"),
            Route::to("admin", &upstream)
                .prefix("/admin")
                .endpoint("prefix_boundary = \"word\"")
                .steps(&["key"]),
            Route::to("segment", &upstream).prefix("/keys").steps(&["key"]),
        ],
        KEY,
    );
    answers(
        &edge,
        &[
            ("/admin", 401),
            ("/administrator", 200),
            ("/admin.", 400),
            ("/admin%20", 400),
            ("/admin.json", 400),
            ("/ADMIN.json", 400),
            ("/admin%2e/x", 400),
            ("/admin;x", 400),
            ("/keys.json", 200),
            ("/keys.", 200),
        ],
    );
}
