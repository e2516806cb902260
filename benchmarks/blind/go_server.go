// A whole server of the Knouds REST API in one file of plain Go: a route table, values that are replaced
// and not changed, and a goroutine for each asynchronous run.
//
// It starts healthy, in either of two ways: what the public pages leave open is written down in `choices`,
// and --other-way takes the other column. --fault NAME breaks one documented thing (--list names them).
//
//	go run go_server.go --port 0 --webhook-url http://127.0.0.1:9000/ --webhook-secret whsec_0123456789abcdef
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// ---------------------------------------------------------------------------------------------- faults

type fault struct {
	Name   string `json:"name"`
	Does   string `json:"does"`
	Breaks string `json:"breaks"`
	Core   bool   `json:"core"`
	Subtle bool   `json:"subtle"`
}

const (
	core   = true
	subtle = true
)

var faults = []fault{
	// authentication
	{"revoked-key-on-executions", "The execution routes look keys up without asking whether they were revoked.",
		"A revoked key: 401.", core, subtle},
	{"unapproved-account-admitted", "Nobody asks whether the account of a key was approved.",
		"A valid key of an account not yet approved: 401.", core, !subtle},
	{"legacy-key-admitted", "Keys made before May 2026 go on working.",
		"A key made before May 2026: 401 LEGACY_KEY_RETIRED.", core, !subtle},
	{"key-tail-ignored", "Keys are found by their first 28 characters, the rest is not compared.",
		"An unknown key: 401.", core, subtle},
	{"bearer-on-runs", "The two run endpoints also take the key from Authorization: Bearer.",
		"Authorization: Bearer is not accepted.", core, subtle},
	{"session-route-for-admin", "An administrator's key reads /api/credits/*.",
		"Session endpoints: no API key reaches them, whatever it holds.", core, subtle},
	// capabilities
	{"write-implies-read", "workflow:write is enough where workflow:read is needed.",
		"Capabilities are orthogonal: none implies another.", core, !subtle},
	{"read-key-cancels", "execution:read is enough to cancel.",
		"POST /api/executions/:id/cancel needs execution:cancel.", core, !subtle},
	{"bound-key-any-slug-async", "In the asynchronous form a key bound to one workflow runs every workflow of its account.",
		"A bound form passes if the request names that resource.", core, subtle},
	{"bound-model-prefix", "model:<name>:run also passes for models whose name begins with <name>.",
		"A bound form passes if the request names that resource.", core, subtle},
	// tiers
	{"tier-gate-sync-only", "The asynchronous form of a model run does not look at the tier that the model needs.",
		"Model above the account's tier: 403 MODEL_TIER_REQUIRED.", core, subtle},
	{"free-second-workflow", "A Free account may create two workflows (the cap is compared with > for >=).",
		"POST /api/workflows: Free capped at 1.", core, !subtle},
	// ownership
	{"template-writable", "PUT takes whatever the caller may read, other people's templates too.",
		"PUT /api/workflows/:slug needs workflow:write and ownership.", core, subtle},
	{"move-any-workflow", "Moving a workflow does not ask who owns it.",
		"PUT /api/workflows/:slug/move needs workflow:write and ownership.", core, subtle},
	{"admin-deletes-foreign", "An administrator may delete other people's workflows.",
		"There is no administrator override on the write endpoints.", core, subtle},
	{"ended-execution-public", "Polling asks for the owner only while the execution is in flight.",
		"Poll: unknown or foreign id: 404.", core, subtle},
	{"usage-slug-filter-leak", "With workflowSlug the usage rows of all accounts are searched.",
		"Usage: only one's own rows.", core, subtle},
	// envelopes
	{"router-text-404", "An unknown path gets the plain text of the standard library's router.",
		"Every response, errors included, is a JSON object with error and code.", !core, !subtle},
	{"null-body-panics", "A run whose body is the JSON null panics: 500.",
		"A body without inputs: 400 INVALID_INPUTS or INVALID_BODY.", !core, subtle},
	// validation
	{"model-inputs-array", "Model runs take an array for inputs.",
		"inputs is no object (an array is no object): 400 INVALID_INPUTS.", !core, subtle},
	{"slug-lowercased", "The run endpoints lower-case the name in the path in place of refusing it.",
		"A slug with other characters: 400 INVALID_SLUG.", !core, subtle},
	{"slug-follows-name", "Renaming a workflow gives it the slug of its new name.",
		"Update: the slug never changes.", !core, !subtle},
	// lifecycles
	{"failed-run-revived", "A sweeper runs failed executions again two seconds later, and they end completed.",
		"completed, failed and cancelled are final.", core, subtle},
	{"cancel-overwrites-ended", "Cancelling an execution that has ended makes it cancelled.",
		"Cancelling a run that has ended must not change its status.", core, !subtle},
	{"late-provider-wins", "The provider's late answer turns a cancelled execution into a completed one.",
		"completed, failed and cancelled are final.", core, subtle},
	{"submit-waits-for-hook", "With a webhook configured, submitting first knocks at the receiver, for 700 ms.",
		"Submit answers in under 500 ms.", !core, subtle},
	{"deleted-still-runs", "The run endpoint finds workflows in a cache that deleting does not clear.",
		"Delete: afterwards 404.", core, subtle},
	// money
	{"cancel-refunds", "A cancelled run gets its credits back and is booked with none.",
		"A cancelled run is always charged.", core, !subtle},
	{"spend-race", "The balance is read, and written some milliseconds later: runs at the same time overspend it.",
		"Too few credits: 402 INSUFFICIENT_CREDITS.", core, subtle},
	{"async-charges-one-image", "The asynchronous form charges one image, however many are made.",
		"Credits are charged per generator node: per image.", core, subtle},
	{"trial-cost-shown", "A run that a trial grant paid answers with the list price.",
		"cost is 0 where a trial grant paid.", core, !subtle},
	// usage
	{"usage-page-before-filter", "With a status the page is cut first and filtered afterwards, so rows go missing.",
		"Usage: status filters, limit and offset page through what is left.", !core, subtle},
	{"usage-canvas-rows", "Runs from the canvas are among the rows.",
		"Usage: one's own API rows, canvas runs left out.", !core, !subtle},
	// webhooks
	{"webhook-signs-escaped", "The signature is made over an HTML-escaped encoding, which differs where the body has &, < or >.",
		"v1 = HMAC-SHA256(secret, \"<t>.<raw body>\").", !core, subtle},
	{"webhook-unheld", "Deliveries go out for keys that do not hold webhook:receive.",
		"The key needs webhook:receive.", core, !subtle},
	{"webhook-cancelled-silent", "No delivery goes out for a cancelled execution.",
		"One POST per ended execution, execution.cancelled among them.", !core, subtle},
	// rate limits
	{"rate-per-key", "The window counts by key, so a second key of the user starts afresh.",
		"Rate limits are per user, per route.", !core, subtle},
	{"retry-after-absent", "429 comes without a Retry-After header.",
		"Over the limit: 429 with Retry-After (seconds).", !core, !subtle},
	// schemas
	{"public-schema-unset-is-open", "The public schema is closed only where publicPlayground is false, not where it was never set.",
		"Public schema: 404 unless publicPlayground is true.", core, subtle},
	{"schema-fields-null", "Without a Request Input node, fields is null (a nil slice).",
		"fields: an empty array where there is no such node.", !core, subtle},
}

// --------------------------------------------------------------------------------- what is left open

// choices holds one decision for each point that the public pages leave open.
type choices struct {
	createStatus     int    // of a successful create
	wholeOnWrite     bool   // create, update and move answer the document, else its slug
	foreignRead      int    // reading a foreign private workflow
	foreignWrite     int    // writing a foreign workflow
	templateOpen     bool   // somebody's template can be read and run, else only seen in the list
	sessionStatus    int    // a key at a session endpoint
	methodStatus     int    // known path, unknown method
	oversizedStatus  int    // body too large
	misshapenStatus  int    // document or name unusable
	misshapenCode    string // the code for it
	freeCapStatus    int    // a second workflow on Free
	badSlugIs404     bool   // malformed slug on reads and writes, else INVALID_SLUG
	bodyFirst        bool   // the body is looked at before the resource
	bareBodyCode     string // run body that is JSON but no object, or empty
	requiredIsList   bool   // required where two capabilities would pass
	starForAll       bool   // * on an account that is no administrator
	lowTierCode      string // a model:run key under Business
	asyncStatus      int    // of a submission
	pollWhole        bool   // the poll tells more than id and status
	cancelAtOnce     bool   // cancel ends the run in the request, else through cancel_requested
	refuseEnded      bool   // cancelling an ended run is a 409, else a 200 that changes nothing
	chargeFailed     bool   // a failed run keeps its charge
	modelMs          bool   // ms on model runs
	retries          []time.Duration
	limitFirst       bool // the window is asked before the capability
	refusedCount     bool // requests over the limit count
	clockWindow      bool // windows begin at full minutes, else at the first request
	limitMore        bool // the list and usage are limited too
	unlimitedHeaders bool // unlimited callers get the three headers
	pageFrom         int  // the number of the first page
	refuseGarbled    bool // garbled or excessive query values are a 400, else clamped or ignored
	cancelledFilters bool // status=cancelled filters, else is garbled
	processingMs     any  // durationMs while processing
	modelsBare       bool
	modelsOfCanvas   bool
	noDescription    any // in a summary
}

var firstWay = choices{
	createStatus: 201, wholeOnWrite: true, foreignRead: 404, foreignWrite: 403, templateOpen: true,
	sessionStatus: 403, methodStatus: 405, oversizedStatus: 413, misshapenStatus: 400,
	misshapenCode: "INVALID_BODY", freeCapStatus: 403, badSlugIs404: true, bodyFirst: true,
	bareBodyCode: "INVALID_BODY", requiredIsList: false, starForAll: false, lowTierCode: "MODEL_TIER_REQUIRED",
	asyncStatus: 202, pollWhole: true, cancelAtOnce: false, refuseEnded: true, chargeFailed: false,
	modelMs: true, retries: []time.Duration{time.Second, 3 * time.Second}, limitFirst: true,
	refusedCount: false, clockWindow: false, limitMore: false, unlimitedHeaders: false, pageFrom: 1,
	refuseGarbled: false, cancelledFilters: true, processingMs: nil,
	modelsBare: false, modelsOfCanvas: false, noDescription: "",
}

var otherWay = choices{
	createStatus: 200, wholeOnWrite: false, foreignRead: 403, foreignWrite: 404, templateOpen: false,
	sessionStatus: 404, methodStatus: 404, oversizedStatus: 400, misshapenStatus: 422,
	misshapenCode: "INVALID_WORKFLOW", freeCapStatus: 402, badSlugIs404: false, bodyFirst: false,
	bareBodyCode: "INVALID_INPUTS", requiredIsList: true, starForAll: true, lowTierCode: "CAPABILITY_DENIED",
	asyncStatus: 200, pollWhole: false, cancelAtOnce: true, refuseEnded: false, chargeFailed: true,
	modelMs: false, retries: []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second},
	limitFirst: false, refusedCount: true, clockWindow: true, limitMore: true, unlimitedHeaders: true,
	pageFrom: 0, refuseGarbled: true, cancelledFilters: false,
	processingMs: 0, modelsBare: true, modelsOfCanvas: true, noDescription: nil,
}

// ------------------------------------------------------------------------------------------- problems

type object = map[string]any

// problem is an error that knows its answer.
type problem struct {
	status int
	code   string
	text   string
	more   object
}

func (p *problem) Error() string { return p.code + ": " + p.text }

func (p *problem) body() object {
	body := object{"error": p.text, "code": p.code}
	maps.Copy(body, p.more)
	return body
}

func fail(status int, code, text string) error {
	return &problem{status: status, code: code, text: text}
}

var (
	errUnauthorized = fail(401, "UNAUTHORIZED", "Unauthorized")
	errLegacy       = fail(401, "LEGACY_KEY_RETIRED", "This key was made before May 2026. Create a new one in the dashboard.")
	errNoRoute      = fail(404, "NOT_FOUND", "No such endpoint")
	errNoWorkflow   = fail(404, "WORKFLOW_NOT_FOUND", "Workflow not found")
	errNoExecution  = fail(404, "EXECUTION_NOT_FOUND", "Execution not found")
	errNoModel      = fail(404, "MODEL_NOT_FOUND", "Model not found or not available")
	errBadSlug      = fail(400, "INVALID_SLUG", "Only lowercase letters, digits and hyphens are allowed")
	errNotJSON      = fail(400, "INVALID_BODY", "The body is not valid JSON")
	errInputs       = fail(400, "INVALID_INPUTS", "`inputs` must be an object")
	errProvider     = fail(500, "EXECUTION_FAILED", "The provider could not finish this run")
)

// -------------------------------------------------------------------------------------------- entities

type account struct {
	id, email, role, tier string
	approved              bool

	mu      sync.Mutex // guards the money
	credits int
	trial   string // "", "granted" or "exhausted"
	granted int    // runs that the grant still pays
}

func (a *account) isAdmin() bool { return a.role == "admin" }

type hook struct{ url, secret string }

type apiKey struct {
	name, secret, state string
	owner               *account
	capabilities        []string
	hook                *hook
}

func (k *apiKey) holds(capability string) bool { return slices.Contains(k.capabilities, capability) }

// model is priced by the unit: an image, a second or a call.
type model struct {
	name, makes, unit string
	price             int
	needs             string
	polled, disabled  bool
	inputs            object
}

var models = []*model{
	{name: "nano-banana-2", makes: "images", unit: "image", price: 4, needs: "business", inputs: object{"prompt": "a red kite", "num_images": 1}},
	{name: "seedream-v5", makes: "images", unit: "image", price: 3, needs: "business", inputs: object{"prompt": "wet slate", "num_images": 3}},
	{name: "gpt-image-2", makes: "images", unit: "image", price: 5, needs: "business", polled: true, inputs: object{"prompt": "an owl", "num_images": 2}},
	{name: "gpt-image-2-mini", makes: "images", unit: "image", price: 2, needs: "business", polled: true, inputs: object{"prompt": "an owlet", "num_images": 1}},
	{name: "kling-v3-i2v", makes: "videos", unit: "second", price: 8, needs: "business", inputs: object{"prompt": "push in", "duration": 5}},
	{name: "kling-o3-ref2v", makes: "videos", unit: "second", price: 9, needs: "business", inputs: object{"prompt": "turn", "duration": 4}},
	{name: "kling-v3-motion", makes: "videos", unit: "second", price: 7, needs: "business", inputs: object{"prompt": "wave", "duration": 3}},
	{name: "seedance-2-0", makes: "videos", unit: "second", price: 6, needs: "business", polled: true, inputs: object{"prompt": "surf", "duration": 4}},
	{name: "seedance-2-0-full-access", makes: "videos", unit: "second", price: 12, needs: "enterprise", polled: true, inputs: object{"prompt": "gale", "duration": 4}},
	{name: "suno-v5", makes: "audios", unit: "call", price: 10, needs: "business", polled: true, inputs: object{"prompt": "slow reel"}},
	{name: "claude-sonnet", makes: "text", unit: "call", price: 1, needs: "business", inputs: object{"prompt": "a line on rain"}},
	{name: "sd-classic", makes: "images", unit: "image", price: 1, needs: "business", disabled: true, inputs: object{"prompt": "fog"}},
}

func modelNamed(name string) *model {
	for _, each := range models {
		if each.name == name {
			return each
		}
	}
	return nil
}

// units is how much of the model a run with these inputs uses.
func (m *model) units(inputs object, fallback float64) int {
	field, most := "num_images", 8.0
	switch m.unit {
	case "call":
		return 1
	case "second":
		field, most = "duration", 15.0
	}
	if given, ok := number(inputs[field]); ok {
		fallback = given
	}
	return int(math.Min(math.Max(math.Ceil(fallback), 1), most))
}

func number(value any) (float64, bool) {
	switch v := value.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

var ranks = map[string]int{"free": 0, "creator": 1, "pro": 2, "business": 3, "enterprise": 4}

func rank(tier string) int {
	if known, ok := ranks[tier]; ok {
		return known
	}
	return ranks["pro"] // custom tiers
}

// windowLimit is the number of requests in a window; 0 is no limit.
func windowLimit(a *account) int {
	if a.isAdmin() {
		return 0
	}
	switch a.tier {
	case "enterprise":
		return 0
	case "business":
		return 1000
	case "free", "creator":
		return 30
	case "pro":
		return 100
	}
	return 300 // custom tiers
}

// ------------------------------------------------------------------------------------------- workflows

// workflow is never changed once it is in the store: a write replaces it.
type workflow struct {
	Slug        string   `json:"slug"`
	Name        string   `json:"name"`
	Description *string  `json:"description,omitempty"`
	Tags        []string `json:"tags"`
	Nodes       []object `json:"nodes"`
	Edges       []object `json:"edges"`
	Viewport    object   `json:"viewport"`
	Public      *bool    `json:"publicPlayground,omitempty"`
	CreatedBy   string   `json:"createdBy"`
	FolderID    *string  `json:"folderId"`
	UpdatedAt   string   `json:"updatedAt"`

	template, fails bool
	thumbnail       string
}

var slugShape = regexp.MustCompile(`^[a-z0-9-]+$`)
var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)
var notInType = regexp.MustCompile(`[^a-z]+`)

func slugOf(name string) string {
	if slug := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-"); slug != "" {
		return slug
	}
	return "workflow"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// use is a generator node: a model, and how much of it unless the inputs say otherwise.
type use struct {
	model *model
	units float64
}

func (w *workflow) uses() []use {
	var all []use
	for _, node := range w.Nodes {
		data, _ := node["data"].(object)
		kind := notInType.ReplaceAllString(strings.ToLower(node["type"].(string)), "")
		name, _ := data["model"].(string)
		known := modelNamed(name)
		if known == nil {
			if !strings.Contains(kind, "generat") {
				continue
			}
			known = models[0]
		}
		units := 1.0
		if known.unit == "second" {
			units = 5
		}
		for _, field := range []string{"num_images", "duration"} {
			if set, ok := number(data[field]); ok {
				units = set
			}
		}
		all = append(all, use{known, units})
	}
	return all
}

func (w *workflow) modelIDs() []string {
	ids := []string{}
	for _, each := range w.uses() {
		if !slices.Contains(ids, each.model.name) {
			ids = append(ids, each.model.name)
		}
	}
	return ids
}

// form is what the Request Input node asks for, and the values that it starts with.
func (w *workflow) form() (fields []object, values object) {
	values = object{}
	for _, node := range w.Nodes {
		if notInType.ReplaceAllString(strings.ToLower(node["type"].(string)), "") != "requestinput" {
			continue
		}
		data, _ := node["data"].(object)
		listed, _ := data["fields"].([]any)
		fields = []object{}
		for _, each := range listed {
			field, ok := each.(object)
			name, named := field["name"].(string)
			if !ok || !named {
				continue
			}
			field = maps.Clone(field)
			if _, typed := field["type"].(string); !typed {
				field["type"] = "text"
			}
			fields = append(fields, field)
			values[name] = field["default"]
		}
		break
	}
	return fields, values
}

// filled lays given inputs over the values that the form starts with.
func (w *workflow) filled(given object) object {
	_, values := w.form()
	for name := range values {
		if value, ok := given[name]; ok {
			values[name] = value
		}
	}
	return values
}

func (w *workflow) estimate() any {
	all := w.uses()
	if len(all) == 0 {
		return nil
	}
	return priceOf(all, w.filled(nil))
}

func priceOf(all []use, inputs object) int {
	total := 0
	for _, each := range all {
		total += each.model.price * each.model.units(inputs, each.units)
	}
	return total
}

// with lays the fields of a document over the workflow; what the server keeps itself is passed over.
func (w workflow) with(document object) (*workflow, error) {
	wrong := ""
	take := func(field string, ok func(any) bool) bool {
		value, given := document[field]
		if given && !ok(value) && wrong == "" {
			wrong = field
		}
		return given && wrong == ""
	}
	if take("name", isName) {
		w.Name = strings.TrimSpace(document["name"].(string))
	}
	if take("description", orNull(isText)) {
		w.Description = textOrNil(document["description"])
	}
	if take("folderId", orNull(isFolder)) {
		w.FolderID = textOrNil(document["folderId"])
	}
	if take("tags", listOf(isText)) {
		w.Tags = []string{}
		for _, each := range document["tags"].([]any) {
			w.Tags = append(w.Tags, each.(string))
		}
	}
	if take("nodes", listOf(isNode)) {
		w.Nodes = objectsOf(document["nodes"])
	}
	if take("edges", listOf(isEdge)) {
		w.Edges = objectsOf(document["edges"])
		for _, edge := range w.Edges {
			for _, handle := range []string{"sourceHandle", "targetHandle"} {
				if _, given := edge[handle]; !given {
					edge[handle] = nil
				}
			}
		}
	}
	if take("viewport", isViewport) {
		w.Viewport = document["viewport"].(object)
	}
	if take("publicPlayground", func(v any) bool { _, ok := v.(bool); return ok }) {
		set := document["publicPlayground"].(bool)
		w.Public = &set
	}
	if wrong != "" {
		return nil, errors.New(wrong)
	}
	w.UpdatedAt = stamp(time.Now())
	return &w, nil
}

func isText(v any) bool { _, ok := v.(string); return ok }

func isName(v any) bool {
	text, ok := v.(string)
	return ok && strings.TrimSpace(text) != "" && utf8.RuneCountInString(text) <= 200
}

func isFolder(v any) bool { text, ok := v.(string); return ok && text != "" && len(text) <= 200 }

func isID(v any) bool { text, ok := v.(string); return ok && text != "" }

func orNull(ok func(any) bool) func(any) bool {
	return func(v any) bool { return v == nil || ok(v) }
}

func listOf(ok func(any) bool) func(any) bool {
	return func(v any) bool {
		list, isList := v.([]any)
		return isList && !slices.ContainsFunc(list, func(each any) bool { return !ok(each) })
	}
}

func hasNumbers(v any, names ...string) bool {
	o, ok := v.(object)
	for _, name := range names {
		if _, is := number(o[name]); !is {
			return false
		}
	}
	return ok
}

func isNode(v any) bool {
	node, _ := v.(object)
	_, hasData := node["data"].(object)
	return isID(node["id"]) && isID(node["type"]) && hasData && hasNumbers(node["position"], "x", "y")
}

func isEdge(v any) bool {
	edge, _ := v.(object)
	return isID(edge["id"]) && isID(edge["source"]) && isID(edge["target"]) &&
		orNull(isText)(edge["sourceHandle"]) && orNull(isText)(edge["targetHandle"])
}

func isViewport(v any) bool { return hasNumbers(v, "x", "y", "zoom") }

func textOrNil(v any) *string {
	if text, ok := v.(string); ok {
		return &text
	}
	return nil
}

func objectsOf(v any) []object {
	list := []object{}
	for _, each := range v.([]any) {
		list = append(list, each.(object))
	}
	return list
}

// ------------------------------------------------------------------------------- executions and ledger

type execution struct {
	id, requestID string
	key           *apiKey
	slug          *string
	modelIDs      []string
	begun         time.Time
	row           *row
	cost          int // what was taken from the balance
	cancelled     chan struct{}

	mu     sync.Mutex
	status string
	ended  time.Time
	result any
	failed object
}

func isFinal(status string) bool {
	return status == "completed" || status == "failed" || status == "cancelled"
}

// row is a line of the usage ledger, which guards it.
type row struct {
	id        int
	owner     *account
	slug      *string
	modelIDs  []string
	status    string
	source    string
	credits   int
	took      any
	errorCode any
	requestID string
	created   time.Time
}

type ledger struct {
	mu   sync.RWMutex
	rows []*row
}

func (l *ledger) add(r *row) *row {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.id = len(l.rows) + 4001
	l.rows = append(l.rows, r)
	return r
}

func (l *ledger) change(r *row, how func(*row)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how(r)
}

// find copies the rows that pass, newest first.
func (l *ledger) find(passes func(*row) bool) []row {
	l.mu.RLock()
	defer l.mu.RUnlock()
	found := []row{}
	for _, each := range slices.Backward(l.rows) {
		if passes(each) {
			found = append(found, *each)
		}
	}
	return found
}

// publicIDs leaves out the names that providers use among themselves.
func publicIDs(ids []string) []string {
	shown := []string{}
	for _, id := range ids {
		if !strings.Contains(id, ":") {
			shown = append(shown, id)
		}
	}
	return shown
}

func (r row) shown() object {
	return object{
		"id": r.id, "userId": r.owner.id, "workflowSlug": r.slug, "modelIds": publicIDs(r.modelIDs),
		"status": r.status, "source": r.source, "cost": usd(r.credits, 0.006), "userCost": usd(r.credits, 0.01),
		"creditsCost": r.credits, "durationMs": r.took, "errorCode": r.errorCode,
		"requestId": r.requestID, "createdAt": stamp(r.created),
	}
}

func usd(credits int, rate float64) float64 { return math.Round(float64(credits)*rate*1e4) / 1e4 }

// ----------------------------------------------------------------------------------------- rate limits

type window struct {
	begun time.Time
	count int
}

type limiter struct {
	mu      sync.Mutex
	windows map[string]*window
}

const windowLength = time.Minute

// take counts a request; what is left of the window, and when it ends.
func (l *limiter) take(bucket string, limit int, way *choices) (left int, ends time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w := l.windows[bucket]
	if w == nil || now.Sub(w.begun) >= windowLength {
		w = &window{begun: now}
		if way.clockWindow {
			w.begun = now.Truncate(windowLength)
		}
		l.windows[bucket] = w
	}
	ok = limit == 0 || w.count < limit
	if ok || way.refusedCount {
		w.count++
	}
	return max(limit-w.count, 0), w.begun.Add(windowLength), ok
}

// ---------------------------------------------------------------------------------------------- server

type server struct {
	way        choices
	fault      string
	runSeconds time.Duration
	keys       map[string]*apiKey // by secret
	prefixes   map[string]*apiKey // by the first characters of the secret
	begun      time.Time

	mu         sync.RWMutex // guards the two maps below
	workflows  map[string]*workflow
	executions map[string]*execution
	ran        map[string]*workflow // what was deleted, for the fault that forgets it

	ledger ledger
	limits limiter
	client *http.Client
}

func (s *server) has(fault string) bool { return s.fault == fault }

// call is one request on its way through the checks.
type call struct {
	*http.Request
	header http.Header
	route  *route
	params map[string]string
	key    *apiKey
}

func (c *call) user() *account { return c.key.owner }

func (c *call) isAsync() bool { return c.URL.Query().Get("async") == "true" }

type handler func(*server, *call) (int, any, error)

type route struct {
	method, path string
	needs        string // a capability; "" is any valid key
	bound        string // where the bound form passes too: its first part
	limited      string // "always", or "more" in the other way
	open         bool   // no key at all
	handle       handler
}

var routes = []*route{
	{method: "GET", path: "/api/health", open: true, handle: (*server).health},
	{method: "GET", path: "/api/pricing/public", open: true, handle: (*server).pricing},
	{method: "GET", path: "/api/workflows/{slug}/public-schema", open: true, handle: (*server).publicSchema},
	{method: "GET", path: "/api/whoami", handle: (*server).whoami},
	{method: "GET", path: "/api/usage", limited: "more", handle: (*server).usage},
	{method: "GET", path: "/api/usage/models", limited: "more", handle: (*server).usageModels},
	{method: "GET", path: "/api/workflows", needs: "workflow:read", limited: "more", handle: (*server).list},
	{method: "POST", path: "/api/workflows", needs: "workflow:write", handle: (*server).create},
	{method: "GET", path: "/api/workflows/{slug}", needs: "workflow:read", handle: (*server).get},
	{method: "PUT", path: "/api/workflows/{slug}", needs: "workflow:write", handle: (*server).update},
	{method: "DELETE", path: "/api/workflows/{slug}", needs: "workflow:write", handle: (*server).remove},
	{method: "PUT", path: "/api/workflows/{slug}/move", needs: "workflow:write", handle: (*server).move},
	{method: "GET", path: "/api/workflows/{slug}/schema", needs: "workflow:read", handle: (*server).schema},
	{method: "POST", path: "/api/workflows/{slug}/run", needs: "workflow:run", bound: "workflow", limited: "always",
		handle: (*server).runWorkflow},
	{method: "POST", path: "/api/models/{slug}/run", needs: "model:run", bound: "model", limited: "always",
		handle: (*server).runModel},
	{method: "GET", path: "/api/executions/{id}", needs: "execution:read", handle: (*server).poll},
	{method: "POST", path: "/api/executions/{id}/cancel", needs: "execution:cancel", handle: (*server).cancel},
}

// match finds the route of a path, or else the methods that the path does take.
func match(method, path string) (found *route, params map[string]string, methods []string) {
	parts := strings.Split(path, "/")
next:
	for _, each := range routes {
		wanted := strings.Split(each.path, "/")
		if len(wanted) != len(parts) {
			continue
		}
		params := map[string]string{}
		for i, part := range wanted {
			if strings.HasPrefix(part, "{") {
				value, err := url.PathUnescape(parts[i])
				if err != nil || value == "" {
					continue next
				}
				params[strings.Trim(part, "{}")] = value
			} else if part != parts[i] {
				continue next
			}
		}
		if each.method == method {
			return each, params, nil
		}
		methods = append(methods, each.method)
	}
	return nil, nil, methods
}

var sessionOnly = regexp.MustCompile(`^/api/(me|credits|api-keys|business/admin)(/.*)?$`)

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("%s %s: %v", r.Method, r.URL, cause)
			send(w, 500, object{"error": "Internal error", "code": "INTERNAL_ERROR"})
		}
	}()
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	status, body, err := s.answer(w.Header(), r)
	if known := (*problem)(nil); errors.As(err, &known) {
		if s.has("router-text-404") && err == errNoRoute {
			http.Error(w, "404 page not found", 404)
			return
		}
		status, body = known.status, known.body()
	} else if err != nil {
		panic(err)
	}
	send(w, status, body)
}

func send(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(encoded(body))
}

func encoded(body any) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		panic(err)
	}
	return bytes.TrimRight(buffer.Bytes(), "\n")
}

func (s *server) answer(header http.Header, r *http.Request) (int, any, error) {
	path := r.URL.EscapedPath()
	if sessionOnly.MatchString(path) {
		return s.session(r)
	}
	found, params, methods := match(r.Method, path)
	if found == nil {
		if len(methods) > 0 && s.way.methodStatus == 405 {
			header.Set("Allow", strings.Join(methods, ", "))
			return 0, nil, fail(405, "METHOD_NOT_ALLOWED", "This endpoint does not take "+r.Method)
		}
		return 0, nil, errNoRoute
	}
	c := &call{Request: r, header: header, route: found, params: params}
	if !found.open {
		key, err := s.authenticate(r, found)
		if err != nil {
			return 0, nil, err
		}
		c.key = key
		checks := []func(*call) error{s.limit, s.permit}
		if !s.way.limitFirst {
			slices.Reverse(checks)
		}
		for _, check := range checks {
			if err := check(c); err != nil {
				return 0, nil, err
			}
		}
	}
	return found.handle(s, c)
}

// session refuses every key at the endpoints of the browser.
func (s *server) session(r *http.Request) (int, any, error) {
	key, err := s.authenticate(r, nil)
	if err != nil {
		return 0, nil, err
	}
	if s.has("session-route-for-admin") && key.owner.isAdmin() && strings.HasPrefix(r.URL.Path, "/api/credits/") {
		key.owner.mu.Lock()
		defer key.owner.mu.Unlock()
		return 200, object{"credits": key.owner.credits, "tier": key.owner.tier}, nil
	}
	if s.way.sessionStatus == 404 {
		return 0, nil, fail(404, "NOT_FOUND", "No such endpoint for API keys")
	}
	return 0, nil, fail(403, "SESSION_REQUIRED", "This endpoint needs a browser session")
}

const (
	secretPrefix = "knouds_live_"
	lookupLength = 28
)

func (s *server) authenticate(r *http.Request, found *route) (*apiKey, error) {
	secret := r.Header.Get("x-api-key")
	if s.has("bearer-on-runs") && secret == "" && found != nil && found.bound != "" {
		secret = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	if !strings.HasPrefix(secret, secretPrefix) {
		return nil, errUnauthorized
	}
	key := s.keys[secret]
	if s.has("key-tail-ignored") && len(secret) >= lookupLength {
		key = s.prefixes[secret[:lookupLength]]
	}
	onExecutions := found != nil && strings.HasPrefix(found.path, "/api/executions/")
	switch {
	case key == nil:
		return nil, errUnauthorized
	case key.state == "legacy" && !s.has("legacy-key-admitted"):
		return nil, errLegacy
	case key.state == "revoked" && !(onExecutions && s.has("revoked-key-on-executions")):
		return nil, errUnauthorized
	case !key.owner.approved && !s.has("unapproved-account-admitted"):
		return nil, errUnauthorized
	}
	return key, nil
}

// meets says whether a key satisfies a requirement, bound being the form for one resource.
func (s *server) meets(key *apiKey, needs, bound string) bool {
	if key.holds("*") && (key.owner.isAdmin() || s.way.starForAll) {
		return true
	}
	kind, _, _ := strings.Cut(needs, ":")
	return key.holds(needs) || key.holds(kind+":*") || bound != "" && key.holds(bound)
}

func (s *server) permit(c *call) error {
	needs, bound := c.route.needs, ""
	if needs == "" {
		return nil
	}
	if c.route.bound != "" {
		bound = c.route.bound + ":" + c.params["slug"] + ":run"
	}
	if s.meets(c.key, needs, bound) || s.meetsByMistake(c) {
		return nil
	}
	var required any = needs
	if bound != "" && s.way.requiredIsList {
		required = []string{needs, bound}
	}
	return &problem{403, "CAPABILITY_DENIED", "This key does not hold what the endpoint needs", object{"required": required}}
}

// meetsByMistake holds the faults of the capability check.
func (s *server) meetsByMistake(c *call) bool {
	isBound := func(kind string, fits func(string) bool) bool {
		return slices.ContainsFunc(c.key.capabilities, func(held string) bool {
			parts := strings.Split(held, ":")
			return len(parts) == 3 && parts[0] == kind && parts[2] == "run" && fits(parts[1])
		})
	}
	switch {
	case s.has("write-implies-read") && c.route.needs == "workflow:read":
		return c.key.holds("workflow:write")
	case s.has("read-key-cancels") && c.route.needs == "execution:cancel":
		return c.key.holds("execution:read")
	case s.has("bound-key-any-slug-async") && c.route.bound == "workflow" && c.isAsync():
		return isBound("workflow", func(string) bool { return true })
	case s.has("bound-model-prefix") && c.route.bound == "model":
		return isBound("model", func(name string) bool { return strings.HasPrefix(c.params["slug"], name) })
	}
	return false
}

func (s *server) limit(c *call) error {
	if c.route.limited == "" || c.route.limited == "more" && !s.way.limitMore {
		return nil
	}
	limit := windowLimit(c.user())
	isUnlimited := limit == 0
	if isUnlimited && !s.way.unlimitedHeaders {
		return nil
	}
	if isUnlimited {
		limit = 1_000_000
	}
	whose := c.user().id
	if s.has("rate-per-key") {
		whose = c.key.secret
	}
	left, ends, ok := s.limits.take(whose+" "+c.route.method+" "+c.route.path, limit, &s.way)
	c.header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	c.header.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	c.header.Set("X-RateLimit-Reset", strconv.FormatInt(int64(math.Ceil(float64(ends.UnixMilli())/1000)), 10))
	if ok || isUnlimited {
		return nil
	}
	wait := max(int(math.Ceil(time.Until(ends).Seconds())), 1)
	if !s.has("retry-after-absent") {
		c.header.Set("Retry-After", strconv.Itoa(wait))
	}
	return &problem{429, "RATE_LIMIT_EXCEEDED", "Too many requests",
		object{"tier": c.user().tier, "limit": limit, "retryAfter": wait}}
}

// ----------------------------------------------------------------------------------- small endpoints

func (s *server) health(*call) (int, any, error) {
	return 200, object{"status": "ok", "uptimeSeconds": int(time.Since(s.begun).Seconds())}, nil
}

func (s *server) pricing(*call) (int, any, error) {
	tiers := []object{}
	for _, each := range []struct {
		id      string
		credits any
		limit   any
	}{{"free", 250, nil}, {"creator", 1700, nil}, {"pro", 5000, 100}, {"business", 11329, 1000}, {"enterprise", nil, nil}} {
		tiers = append(tiers, object{"id": each.id, "monthlyCredits": each.credits, "requestsPerMinute": each.limit,
			"apiAccess": ranks[each.id] >= ranks["pro"]})
	}
	return 200, object{"tiers": tiers, "currency": "USD"}, nil
}

func (s *server) whoami(c *call) (int, any, error) {
	u := c.user()
	return 200, object{"user": object{"id": u.id, "email": u.email, "role": u.role, "tier": u.tier, "approved": u.approved}}, nil
}

// -------------------------------------------------------------------------------- workflow endpoints

// read takes the body as JSON.
func (s *server) read(c *call) (any, error) {
	raw, err := io.ReadAll(c.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fail(s.way.oversizedStatus, "INVALID_BODY", "The body is larger than 1 MiB")
	}
	if err != nil || !utf8.Valid(raw) {
		return nil, errNotJSON
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, io.EOF
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil, errNotJSON
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errNotJSON
	}
	return value, nil
}

func (s *server) misshapen(what string) error {
	return fail(s.way.misshapenStatus, s.way.misshapenCode, "Missing or misshapen: "+what)
}

func (s *server) document(c *call) (object, error) {
	value, err := s.read(c)
	if err == io.EOF {
		return nil, fail(400, "INVALID_BODY", "The body is empty")
	} else if err != nil {
		return nil, err
	}
	document, ok := value.(object)
	if !ok {
		return nil, fail(400, "INVALID_BODY", "The body must be an object")
	}
	return document, nil
}

func (s *server) find(slug string) (*workflow, error) {
	if !slugShape.MatchString(slug) && !s.way.badSlugIs404 {
		return nil, errBadSlug
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if found := s.workflows[slug]; found != nil {
		return found, nil
	}
	return nil, errNoWorkflow
}

func (s *server) mayRead(w *workflow, u *account) bool {
	return w.CreatedBy == u.id || w.template && s.way.templateOpen
}

func (s *server) readable(c *call) (*workflow, error) {
	w, err := s.find(c.params["slug"])
	if err != nil {
		return nil, err
	}
	if s.mayRead(w, c.user()) {
		return w, nil
	}
	if s.way.foreignRead == 403 {
		return nil, fail(403, "FORBIDDEN", "This workflow is private")
	}
	return nil, errNoWorkflow
}

func (s *server) mayWrite(w *workflow, c *call) error {
	u := c.user()
	switch {
	case w.CreatedBy == u.id,
		s.has("template-writable") && c.Method == "PUT" && c.route.path == "/api/workflows/{slug}" && w.template,
		s.has("move-any-workflow") && strings.HasSuffix(c.route.path, "/move"),
		s.has("admin-deletes-foreign") && c.Method == "DELETE" && u.isAdmin():
		return nil
	case s.way.foreignWrite == 403:
		return fail(403, "FORBIDDEN", "Only its owner may change a workflow")
	}
	return errNoWorkflow
}

func (s *server) list(c *call) (int, any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	summaries := []object{}
	for _, slug := range slices.Sorted(maps.Keys(s.workflows)) {
		w := s.workflows[slug]
		if w.CreatedBy != c.user().id && !w.template {
			continue
		}
		description := s.way.noDescription
		if w.Description != nil {
			description = *w.Description
		}
		summary := object{
			"slug": w.Slug, "name": w.Name, "description": description, "tags": w.Tags, "isTemplate": w.template,
			"hidden": false, "archived": false, "createdBy": w.CreatedBy, "estimatedCreditCost": w.estimate(),
			"folderId": w.FolderID, "updatedAt": w.UpdatedAt,
		}
		if w.thumbnail != "" {
			summary["thumbnail"] = w.thumbnail
		}
		summaries = append(summaries, summary)
	}
	return 200, summaries, nil
}

func (s *server) get(c *call) (int, any, error) {
	w, err := s.readable(c)
	return 200, w, err
}

func (s *server) create(c *call) (int, any, error) {
	document, err := s.document(c)
	if err != nil {
		return 0, nil, err
	}
	if _, named := document["name"]; !named {
		return 0, nil, s.misshapen("name")
	}
	u := c.user()
	blank := workflow{Tags: []string{}, Nodes: []object{}, Edges: []object{}, CreatedBy: u.id,
		Viewport: object{"x": 0, "y": 0, "zoom": 1}}
	w, wrong := blank.with(document)
	if wrong != nil {
		return 0, nil, s.misshapen(wrong.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.tier == "free" && !u.isAdmin() {
		owned, most := 0, 1
		for _, each := range s.workflows {
			if each.CreatedBy == u.id {
				owned++
			}
		}
		if s.has("free-second-workflow") {
			most = 2
		}
		if owned >= most {
			return 0, nil, fail(s.way.freeCapStatus, "WORKFLOW_LIMIT_REACHED", "Free accounts may create one workflow")
		}
	}
	w.Slug = s.untaken(slugOf(w.Name))
	s.workflows[w.Slug] = w
	return s.written(s.way.createStatus, w)
}

// untaken appends the first number that is free; the caller holds the lock.
func (s *server) untaken(slug string) string {
	candidate := slug
	for n := 2; s.workflows[candidate] != nil; n++ {
		candidate = fmt.Sprintf("%s-%d", slug, n)
	}
	return candidate
}

func (s *server) written(status int, w *workflow) (int, any, error) {
	if s.way.wholeOnWrite {
		return status, w, nil
	}
	return status, object{"success": true, "slug": w.Slug}, nil
}

// rewrite replaces a workflow of the caller's with what a function makes of it.
func (s *server) rewrite(c *call, with func(workflow) (*workflow, error)) (int, any, error) {
	if _, err := s.find(c.params["slug"]); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.workflows[c.params["slug"]]
	if old == nil {
		return 0, nil, errNoWorkflow
	}
	if err := s.mayWrite(old, c); err != nil {
		return 0, nil, err
	}
	w, wrong := with(*old)
	if wrong != nil {
		return 0, nil, s.misshapen(wrong.Error())
	}
	if s.has("slug-follows-name") && w.Name != old.Name {
		delete(s.workflows, old.Slug)
		w.Slug = s.untaken(slugOf(w.Name))
	}
	s.workflows[w.Slug] = w
	return s.written(200, w)
}

func (s *server) update(c *call) (int, any, error) {
	document, err := s.document(c)
	if err != nil {
		return 0, nil, err
	}
	return s.rewrite(c, func(w workflow) (*workflow, error) { return w.with(document) })
}

func (s *server) move(c *call) (int, any, error) {
	document, err := s.document(c)
	if err != nil {
		return 0, nil, err
	}
	return s.rewrite(c, func(w workflow) (*workflow, error) {
		folder, given := document["folderId"]
		if !given {
			return nil, errors.New("folderId")
		}
		return w.with(object{"folderId": folder})
	})
}

func (s *server) remove(c *call) (int, any, error) {
	w, err := s.find(c.params["slug"])
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayWrite(w, c); err != nil {
		return 0, nil, err
	}
	if s.workflows[w.Slug] == nil {
		return 0, nil, errNoWorkflow
	}
	delete(s.workflows, w.Slug)
	s.ran[w.Slug] = w
	return 200, object{"success": true, "slug": w.Slug}, nil
}

func (s *server) schemaOf(w *workflow) object {
	fields, values := w.form()
	if fields == nil && !s.has("schema-fields-null") {
		fields = []object{}
	}
	description := ""
	if w.Description != nil {
		description = *w.Description
	}
	return object{"fields": fields, "values": values, "name": w.Name, "description": description}
}

func (s *server) schema(c *call) (int, any, error) {
	w, err := s.readable(c)
	if err != nil {
		return 0, nil, err
	}
	schema := s.schemaOf(w)
	schema["estimatedCreditCost"] = w.estimate()
	return 200, schema, nil
}

func (s *server) publicSchema(c *call) (int, any, error) {
	w, err := s.find(c.params["slug"])
	if err != nil {
		return 0, nil, err
	}
	isOpen := w.Public != nil && *w.Public || w.Public == nil && s.has("public-schema-unset-is-open")
	if !isOpen {
		return 0, nil, errNoWorkflow
	}
	return 200, s.schemaOf(w), nil
}

// ------------------------------------------------------------------------------------------------ runs

// target is what a run runs: a workflow or a model.
type target struct {
	slug     *string
	modelIDs []string
	uses     []use
	fails    bool
	fill     func(object) object
}

func (s *server) inputs(c *call) (object, error) {
	value, err := s.read(c)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if s.has("null-body-panics") && err == nil && value == nil {
		panic("assignment to entry in nil map")
	}
	body, ok := value.(object)
	if !ok {
		return nil, fail(400, s.way.bareBodyCode, "The body must be an object with `inputs`")
	}
	if inputs, ok := body["inputs"].(object); ok {
		return inputs, nil
	}
	if _, isList := body["inputs"].([]any); isList && s.has("model-inputs-array") && c.route.bound == "model" {
		return object{}, nil
	}
	return nil, errInputs
}

func (s *server) runnable(c *call, slug string) (*target, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := s.workflows[slug]
	if w == nil && s.has("deleted-still-runs") {
		w = s.ran[slug]
	}
	if w == nil || !s.mayRead(w, c.user()) {
		return nil, errNoWorkflow
	}
	return &target{slug: &w.Slug, modelIDs: w.modelIDs(), uses: w.uses(), fails: w.fails, fill: w.filled}, nil
}

func (s *server) callable(c *call, name string) (*target, error) {
	u, m := c.user(), modelNamed(name)
	if m == nil || m.disabled {
		return nil, errNoModel
	}
	isGated := !(s.has("tier-gate-sync-only") && c.isAsync())
	if isGated && !u.isAdmin() && rank(u.tier) < ranks[m.needs] {
		if rank(u.tier) < ranks["business"] && s.way.lowTierCode == "CAPABILITY_DENIED" {
			return nil, &problem{403, "CAPABILITY_DENIED", "Model runs are for Business and up", object{"required": "model:run"}}
		}
		return nil, fail(403, "MODEL_TIER_REQUIRED", "This model needs the tier "+m.needs)
	}
	if c.isAsync() && !m.polled {
		return nil, fail(400, "ASYNC_NOT_SUPPORTED", "This model only runs synchronously")
	}
	fill := func(given object) object { return given }
	units := 1.0
	if m.unit == "second" {
		units = 5
	}
	return &target{modelIDs: []string{m.name}, uses: []use{{m, units}}, fill: fill}, nil
}

func (s *server) runWorkflow(c *call) (int, any, error) { return s.run(c, s.runnable) }

func (s *server) runModel(c *call) (int, any, error) { return s.run(c, s.callable) }

func (s *server) run(c *call, find func(*call, string) (*target, error)) (int, any, error) {
	name := c.params["slug"]
	if s.has("slug-lowercased") {
		name = strings.ToLower(name)
	}
	if !slugShape.MatchString(name) {
		return 0, nil, errBadSlug
	}
	var inputs object
	var aim *target
	steps := []func() error{
		func() (err error) { inputs, err = s.inputs(c); return },
		func() (err error) { aim, err = find(c, name); return },
	}
	if !s.way.bodyFirst {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return 0, nil, err
		}
	}
	inputs = aim.fill(inputs)
	price := priceOf(aim.uses, inputs)
	if s.has("async-charges-one-image") && c.isAsync() {
		price = 0
		for _, each := range aim.uses {
			units := each.model.units(inputs, each.units)
			if each.model.unit == "image" {
				units = 1
			}
			price += each.model.price * units
		}
	}
	cost, err := s.charge(c.user(), price)
	if err != nil {
		return 0, nil, err
	}
	source := "api-workflow"
	if aim.slug == nil {
		source = "api-slim"
	}
	r := s.ledger.add(&row{owner: c.user(), slug: aim.slug, modelIDs: aim.modelIDs, status: "processing",
		source: source, credits: cost, took: s.way.processingMs, requestID: "req_" + hexOf(12), created: time.Now()})
	if c.isAsync() {
		return s.submit(c, aim, inputs, r, cost)
	}
	time.Sleep(s.runSeconds / 40)
	took := max(time.Since(r.created).Milliseconds(), 1)
	if aim.fails {
		kept := s.afterFailure(c.user(), cost)
		s.ledger.change(r, func(r *row) { r.status, r.errorCode, r.took, r.credits = "failed", "EXECUTION_FAILED", took, kept })
		return 0, nil, errProvider
	}
	s.ledger.change(r, func(r *row) { r.status, r.took = "completed", took })
	if s.has("trial-cost-shown") && c.user().trial == "granted" {
		cost = price
	}
	body := object{"success": true, "result": made(aim, inputs, r.requestID), "cost": cost}
	if aim.slug != nil || s.way.modelMs {
		body["ms"] = took
	}
	return 200, body, nil
}

// charge takes the price from the balance, or lets a trial grant pay; what was taken.
func (s *server) charge(u *account, price int) (int, error) {
	if price == 0 {
		return 0, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.trial == "granted" && u.granted > 0:
		u.granted--
		return 0, nil
	case u.trial != "":
		return 0, fail(402, "grant_exhausted", "The trial grant is used up")
	case u.credits < price:
		return 0, &problem{402, "INSUFFICIENT_CREDITS", "Not enough credits for this run",
			object{"requiredCredits": price, "availableCredits": u.credits}}
	}
	if s.has("spend-race") {
		left := u.credits - price
		u.mu.Unlock()
		time.Sleep(80 * time.Millisecond)
		u.mu.Lock()
		u.credits = left
		return price, nil
	}
	u.credits -= price
	return price, nil
}

func (s *server) afterFailure(u *account, cost int) int {
	if s.way.chargeFailed {
		return cost
	}
	refund(u, cost)
	return 0
}

func refund(u *account, cost int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.credits += cost
}

// made is what the provider returns.
func made(aim *target, inputs object, requestID string) object {
	result := object{}
	prompt := fmt.Sprint(inputs["prompt"])
	for _, each := range aim.uses {
		units := each.model.units(inputs, each.units)
		list, _ := result[each.model.makes].([]string)
		at := fmt.Sprintf("https://cdn.knouds.ai/runs/%s/%s", requestID, each.model.name)
		switch each.model.makes {
		case "images":
			for i := range units {
				list = append(list, fmt.Sprintf("%s-%d.png?w=1024&h=1024", at, i+1))
			}
		case "videos":
			list = append(list, at+".mp4")
		case "audios":
			list = append(list, at+".mp3")
		default:
			list = append(list, "A draft about "+prompt+".")
		}
		result[each.model.makes] = list
	}
	if len(aim.uses) == 0 {
		lines := []string{}
		for _, name := range slices.Sorted(maps.Keys(inputs)) {
			lines = append(lines, fmt.Sprintf("%s: %v", name, inputs[name]))
		}
		result["text"] = lines
	}
	return result
}

// ----------------------------------------------------------------------------------- asynchronous runs

func (s *server) hookOf(key *apiKey) *hook {
	if key.hook != nil && (s.meets(key, "webhook:receive", "") || s.has("webhook-unheld")) {
		return key.hook
	}
	return nil
}

func (s *server) submit(c *call, aim *target, inputs object, r *row, cost int) (int, any, error) {
	e := &execution{id: newUUID(), requestID: r.requestID, key: c.key, slug: aim.slug, modelIDs: aim.modelIDs,
		begun: r.created, row: r, cost: cost, cancelled: make(chan struct{}), status: "processing"}
	s.mu.Lock()
	s.executions[e.id] = e
	s.mu.Unlock()
	go s.drive(e, aim, made(aim, inputs, e.requestID))
	delivery := object{"configured": false}
	if hook := s.hookOf(c.key); hook != nil {
		delivery = object{"configured": true, "url": hook.url}
		if s.has("submit-waits-for-hook") {
			time.Sleep(700 * time.Millisecond)
		}
	}
	body := object{"_async": true, "executionId": e.id, "requestId": e.requestID, "status": "processing",
		"webhookDelivery": delivery, "pollUrl": "/api/executions/" + e.id}
	if e.slug != nil {
		body["workflowSlug"] = *e.slug
	}
	return s.way.asyncStatus, body, nil
}

// drive sees an execution to its end.
func (s *server) drive(e *execution, aim *target, result object) {
	due := time.NewTimer(s.runSeconds)
	defer due.Stop()
	select {
	case <-e.cancelled:
		time.Sleep(s.runSeconds / 4)
		s.settle(e, "cancelled", nil)
		if s.has("late-provider-wins") {
			<-due.C
			s.force(e, "completed", result)
		}
		return
	case <-due.C:
	}
	if !aim.fails {
		s.settle(e, "completed", result)
		return
	}
	s.settle(e, "failed", nil)
	if s.has("failed-run-revived") {
		time.Sleep(2 * time.Second)
		s.force(e, "completed", result)
	}
}

// settle ends an execution once: its row, its money and its delivery follow.
func (s *server) settle(e *execution, status string, result any) {
	e.mu.Lock()
	if isFinal(e.status) {
		e.mu.Unlock()
		return
	}
	s.end(e, status, result)
	e.mu.Unlock()
	u, kept := e.key.owner, e.cost
	switch {
	case status == "failed":
		kept = s.afterFailure(u, e.cost)
	case status == "cancelled" && s.has("cancel-refunds"):
		refund(u, e.cost)
		kept = 0
	}
	s.book(e, status, kept)
	hook := s.hookOf(e.key)
	if hook != nil && !(status == "cancelled" && s.has("webhook-cancelled-silent")) {
		go s.deliver(hook, e.event())
	}
}

// end sets the final status; the caller holds the lock.
func (s *server) end(e *execution, status string, result any) {
	e.status, e.result, e.failed, e.ended = status, result, nil, time.Now()
	if status == "failed" {
		e.failed = object{"code": "EXECUTION_FAILED", "message": "The provider could not finish this run"}
	}
}

func (s *server) book(e *execution, status string, credits int) {
	s.ledger.change(e.row, func(r *row) {
		r.status, r.credits, r.took = status, credits, time.Since(e.begun).Milliseconds()
		r.errorCode = nil
		if status == "failed" {
			r.errorCode = "EXECUTION_FAILED"
		}
	})
}

// force is what the faults use to leave a final status.
func (s *server) force(e *execution, status string, result any) {
	e.mu.Lock()
	s.end(e, status, result)
	e.mu.Unlock()
	s.book(e, status, e.cost)
}

func (s *server) executionOf(c *call) (*execution, error) {
	s.mu.RLock()
	e := s.executions[c.params["id"]]
	s.mu.RUnlock()
	if e == nil {
		return nil, errNoExecution
	}
	e.mu.Lock()
	isEnded := isFinal(e.status)
	e.mu.Unlock()
	isShared := s.has("ended-execution-public") && isEnded && c.Method == "GET"
	if e.key.owner != c.user() && !isShared {
		return nil, errNoExecution
	}
	return e, nil
}

func (s *server) poll(c *call) (int, any, error) {
	e, err := s.executionOf(c)
	if err != nil {
		return 0, nil, err
	}
	return 200, s.shown(e), nil
}

func (s *server) shown(e *execution) object {
	e.mu.Lock()
	defer e.mu.Unlock()
	body := object{"executionId": e.id, "status": e.status}
	if e.status == "completed" {
		body["result"] = e.result
	}
	if e.status == "failed" {
		body["error"] = e.failed
	}
	if s.way.pollWhole {
		body["requestId"], body["workflowSlug"], body["modelIds"] = e.requestID, e.slug, e.modelIDs
		body["createdAt"], body["completedAt"] = stamp(e.begun), nil
		if isFinal(e.status) {
			body["completedAt"] = stamp(e.ended)
		}
	}
	return body
}

func (s *server) cancel(c *call) (int, any, error) {
	e, err := s.executionOf(c)
	if err != nil {
		return 0, nil, err
	}
	e.mu.Lock()
	status := e.status
	if status == "processing" {
		e.status = "cancel_requested"
		if !s.way.cancelAtOnce || s.has("late-provider-wins") {
			close(e.cancelled)
		}
	}
	e.mu.Unlock()
	switch {
	case isFinal(status) && s.has("cancel-overwrites-ended"):
		s.force(e, "cancelled", nil)
	case isFinal(status) && s.way.refuseEnded:
		return 0, nil, &problem{409, "EXECUTION_ENDED", "This execution has ended", object{"status": status}}
	case status == "processing" && s.way.cancelAtOnce:
		s.settle(e, "cancelled", nil)
	}
	return 200, s.shown(e), nil
}

// -------------------------------------------------------------------------------------------- webhooks

func (e *execution) event() object {
	e.mu.Lock()
	defer e.mu.Unlock()
	event := object{
		"event": "execution." + e.status, "executionId": e.id, "requestId": e.requestID, "userId": e.key.owner.id,
		"workflowSlug": e.slug, "modelIds": e.modelIDs, "status": e.status,
		"createdAt": stamp(e.begun), "completedAt": stamp(e.ended),
	}
	if e.result != nil {
		event["result"] = e.result
	}
	if e.failed != nil {
		event["error"] = e.failed
	}
	return event
}

// deliver posts an event until the receiver takes it or the tries are used up.
func (s *server) deliver(to *hook, event object) {
	body := encoded(event)
	signed := body
	if s.has("webhook-signs-escaped") {
		signed, _ = json.Marshal(event)
	}
	for try := 0; ; try++ {
		if s.post(to, body, signed) || try == len(s.way.retries) {
			return
		}
		time.Sleep(s.way.retries[try])
	}
}

func (s *server) post(to *hook, body, signed []byte) bool {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, "POST", to.url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(to.secret))
	fmt.Fprintf(mac, "%s.%s", at, signed)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Knouds-Webhooks/1")
	request.Header.Set("X-Knouds-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return response.StatusCode/100 == 2
}

// ----------------------------------------------------------------------------------------------- usage

func (s *server) whole(query url.Values, name string, least, most, fallback int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.Atoi(text)
	isWrong := err != nil || value < least
	if s.way.refuseGarbled && (isWrong || value > most) {
		return 0, fail(400, "INVALID_QUERY", fmt.Sprintf("`%s` must be a whole number from %d to %d", name, least, most))
	}
	if isWrong {
		return fallback, nil
	}
	return min(value, most), nil
}

func (s *server) usage(c *call) (int, any, error) {
	query := c.URL.Query()
	limit, err := s.whole(query, "limit", 1, 500, 50)
	if err != nil {
		return 0, nil, err
	}
	offset, err := s.whole(query, "offset", 0, math.MaxInt32, 0)
	if err != nil {
		return 0, nil, err
	}
	status, modelID, slug := query.Get("status"), query.Get("modelId"), query.Get("workflowSlug")
	isKnown := slices.Contains([]string{"", "processing", "completed", "failed"}, status)
	if !isKnown && !(status == "cancelled" && s.way.cancelledFilters) {
		if s.way.refuseGarbled && status != "cancelled" {
			return 0, nil, fail(400, "INVALID_QUERY", "`status` must be processing, completed or failed")
		}
		status = ""
	}
	hasStatus := func(r *row) bool { return status == "" || r.status == status }
	isOfPage := func(r *row) bool {
		return (r.owner == c.user() || slug != "" && s.has("usage-slug-filter-leak")) &&
			(r.source != "canvas" || s.has("usage-canvas-rows")) &&
			(slug == "" || r.slug != nil && *r.slug == slug) &&
			(modelID == "" || slices.Contains(publicIDs(r.modelIDs), modelID))
	}
	found := s.ledger.find(func(r *row) bool { return isOfPage(r) && hasStatus(r) })
	page := found[min(offset, len(found)):min(offset+limit, len(found))]
	if s.has("usage-page-before-filter") && status != "" {
		all := s.ledger.find(isOfPage)
		cut := all[min(offset, len(all)):min(offset+limit, len(all))]
		page = slices.DeleteFunc(cut, func(r row) bool { return !hasStatus(&r) })
	}
	rows := []object{}
	for _, each := range page {
		rows = append(rows, each.shown())
	}
	return 200, object{"rows": rows, "page": offset/limit + s.way.pageFrom, "pageSize": limit, "total": len(found)}, nil
}

func (s *server) usageModels(c *call) (int, any, error) {
	ids := map[string]bool{}
	for _, each := range s.ledger.find(func(r *row) bool { return r.owner == c.user() }) {
		if each.source == "canvas" && !s.way.modelsOfCanvas {
			continue
		}
		for _, id := range publicIDs(each.modelIDs) {
			ids[id] = true
		}
	}
	sorted := append([]string{}, slices.Sorted(maps.Keys(ids))...)
	if s.way.modelsBare {
		return 200, sorted, nil
	}
	return 200, object{"models": sorted}, nil
}

// ------------------------------------------------------------------------------------------- the world

func hexOf(length int) string {
	raw := make([]byte, (length+1)/2)
	crand.Read(raw)
	return hex.EncodeToString(raw)[:length]
}

func newUUID() string {
	raw := make([]byte, 16)
	crand.Read(raw)
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

// world makes the accounts, keys, workflows and history that a server starts with.
type world struct {
	*server
	dice                *rand.Rand
	hookURL, hookSecret string
	said                object
	accounts            map[string]*account
}

const letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"

func (w *world) text(length int) string {
	drawn := make([]byte, length)
	for i := range drawn {
		drawn[i] = letters[w.dice.Intn(len(letters))]
	}
	return string(drawn)
}

func (w *world) account(name, tier string) *account {
	a := &account{id: "user_" + strings.ToLower(w.text(16)), email: name + "@example.com", role: "user", tier: tier,
		approved: true, credits: 20_000_000}
	w.accounts[name] = a
	return a
}

func (w *world) key(name, of, state string, capabilities ...string) *apiKey {
	key := &apiKey{name: name, secret: secretPrefix + w.text(36), state: state, owner: w.accounts[of], capabilities: capabilities}
	w.keys[key.secret] = key
	w.prefixes[key.secret[:lookupLength]] = key
	w.said["keys"].(object)[name] = object{
		"secret": key.secret, "user": key.owner.id, "tier": key.owner.tier, "role": key.owner.role,
		"capabilities": capabilities, "state": state, "webhook": false,
	}
	return key
}

func (w *world) hooked(key *apiKey, secret string) {
	if w.hookURL == "" {
		return
	}
	key.hook = &hook{w.hookURL, secret}
	if key.holds("webhook:receive") {
		about := w.said["keys"].(object)[key.name].(object)
		about["webhook"], about["webhook_secret"] = true, secret
	}
}

var proCapabilities = []string{"workflow:run", "workflow:read", "workflow:write", "webhook:receive", "execution:read", "execution:cancel"}
var businessCapabilities = append(slices.Clone(proCapabilities), "model:run")

func (w *world) people() {
	for _, each := range [][2]string{{"mara", "pro"}, {"rival", "pro"}, {"studio", "business"}, {"group", "enterprise"},
		{"root", "pro"}, {"star", "pro"}, {"freda", "free"}, {"agency", "agency"}, {"penny", "pro"},
		{"tess", "pro"}, {"gwen", "pro"}, {"newcomer", "pro"}} {
		w.account(each[0], each[1])
	}
	w.accounts["root"].role = "admin"
	w.accounts["penny"].credits = 3
	w.accounts["tess"].credits, w.accounts["tess"].trial = 0, "exhausted"
	w.accounts["gwen"].credits, w.accounts["gwen"].trial, w.accounts["gwen"].granted = 0, "granted", 100_000
	w.accounts["newcomer"].approved = false

	w.key("pro", "mara", "active", proCapabilities...)
	w.key("pro_reader", "mara", "active", "workflow:read")
	w.key("pro_deploy", "mara", "active", "workflow:run", "workflow:read")
	w.key("pro_writer", "mara", "active", "workflow:write")
	w.key("pro_bound", "mara", "active", "workflow:harbor-poster:run")
	w.key("pro_wild", "mara", "active", "workflow:*")
	w.key("pro_watch", "mara", "active", "execution:read")
	w.key("pro_cancel", "mara", "active", "execution:cancel")
	w.key("pro_model", "mara", "active", "model:run")
	w.hooked(w.key("pro_hook", "mara", "active", "workflow:run", "workflow:read", "webhook:receive", "execution:read", "execution:cancel"),
		w.hookSecret)
	w.hooked(w.key("pro_unheld", "mara", "active", "workflow:run", "execution:read"), w.hookSecret)
	w.key("pro_revoked", "mara", "revoked", proCapabilities...)
	w.key("pro_legacy", "mara", "legacy", proCapabilities...)
	w.key("rival", "rival", "active", proCapabilities...)
	w.key("business", "studio", "active", businessCapabilities...)
	w.hooked(w.key("business_hook", "studio", "active", businessCapabilities...), "whsec_"+w.text(32))
	w.key("business_bound", "studio", "active", "model:gpt-image-2:run")
	w.key("enterprise", "group", "active", businessCapabilities...)
	w.key("admin", "root", "active", "*")
	w.key("star", "star", "active", "*")
	w.key("free", "freda", "active", "workflow:run", "workflow:read", "workflow:write", "execution:read", "execution:cancel")
	w.key("custom", "agency", "active", proCapabilities...)
	w.key("poor", "penny", "active", proCapabilities...)
	w.key("trial_used", "tess", "active", proCapabilities...)
	w.key("trial_pays", "gwen", "active", proCapabilities...)
	w.key("unapproved", "newcomer", "active", proCapabilities...)
	w.said["keys"].(object)["unapproved"].(object)["state"] = "unapproved"
}

// made is one workflow: a form, a generator for each use, an output.
func (w *world) workflow(of, name, public string, inputs object, uses ...use) *workflow {
	node := func(id, kind string, at int, data object) object {
		return object{"id": id, "type": kind, "position": object{"x": at * 320, "y": 0}, "data": data}
	}
	fields := []any{}
	for _, input := range slices.Sorted(maps.Keys(inputs)) {
		field := object{"name": input, "type": "textarea", "label": strings.ReplaceAll(input, "_", " "), "default": inputs[input]}
		switch input {
		case "num_images":
			field["type"], field["min"], field["max"], field["step"] = "slider", 1, 8, 1
		case "mood":
			field["type"], field["options"] = "pills", []any{"calm", "bright", "grave"}
		}
		fields = append(fields, field)
	}
	made := &workflow{Slug: slugOf(name), Name: name, Tags: []string{}, Edges: []object{}, CreatedBy: w.accounts[of].id,
		Viewport: object{"x": 0, "y": 0, "zoom": 1}, UpdatedAt: stamp(w.begun.Add(-time.Duration(w.dice.Intn(900)) * time.Hour))}
	if len(inputs) > 0 {
		made.Nodes = append(made.Nodes, node("input", "requestInput", 0, object{"fields": fields}))
	}
	for i, each := range uses {
		data := object{"model": each.model.name}
		data[map[string]string{"image": "num_images", "second": "duration", "call": "calls"}[each.model.unit]] = each.units
		made.Nodes = append(made.Nodes, node(fmt.Sprintf("make-%d", i+1), each.model.makes+"Generator", i+1, data))
	}
	made.Nodes = append(made.Nodes, node("output", "responseOutput", len(uses)+1, object{"label": "Result"}))
	for i, each := range made.Nodes[1:] {
		made.Edges = append(made.Edges, object{"id": fmt.Sprintf("edge-%d", i+1), "source": made.Nodes[i]["id"],
			"target": each["id"], "sourceHandle": "out", "targetHandle": "in"})
	}
	if public != "" {
		set := public == "yes"
		made.Public = &set
	}
	w.workflows[made.Slug] = made
	w.said["workflows"].(object)[made.Slug] = object{"owner": made.CreatedBy, "public": public == "yes", "template": false,
		"inputs": inputs, "cost_credits": priceOf(uses, inputs), "fails": false, "polled": true}
	return made
}

func (w *world) documents() {
	of := func(name string, units float64) use { return use{modelNamed(name), units} }
	say := func(prompt string) object { return object{"prompt": prompt} }
	about := func(made *workflow) object { return w.said["workflows"].(object)[made.Slug].(object) }

	poster := w.workflow("mara", "Harbor Poster", "", say("a harbour at six"), of("nano-banana-2", 1))
	words, folder := "A poster & its title", "folder_print"
	poster.Description, poster.Tags, poster.FolderID = &words, []string{"print", "poster"}, &folder
	poster.thumbnail = "https://cdn.knouds.ai/thumbs/harbor-poster.webp"
	w.workflow("mara", "Harbor Poster Series", "no", object{"prompt": "four boats", "num_images": 3, "mood": "calm"}, of("seedream-v5", 3))
	w.workflow("mara", "Open Window", "yes", say("curtains"), of("gpt-image-2-mini", 1))
	w.workflow("mara", "Form Letter", "", object{"prompt": "thanks", "mood": "bright"})
	w.workflow("mara", "Soundtrack", "no", object{}, of("suno-v5", 1))
	broken := w.workflow("mara", "Quiet Reel", "", say("nothing moves"), of("kling-v3-i2v", 5))
	broken.fails, about(broken)["fails"] = true, true
	w.workflow("rival", "Rival Sketch", "", say("ink"), of("nano-banana-2", 1))
	starter := w.workflow("rival", "Rival Starter", "no", say("first steps"), of("gpt-image-2", 1))
	starter.template, about(starter)["template"] = true, true
	w.workflow("studio", "Studio Cut", "", say("end credits"), of("seedance-2-0", 4))
	w.workflow("studio", "Studio Sheet", "yes", object{"prompt": "contact sheet", "num_images": 4}, of("gpt-image-2-mini", 4), of("claude-sonnet", 1))
	w.workflow("group", "Group Brief", "", say("in short"), of("claude-sonnet", 1))
	w.workflow("root", "Root Check", "", say("ping"), of("claude-sonnet", 1))
	w.workflow("star", "Star Chart", "", say("north"), of("gpt-image-2-mini", 1))
	w.workflow("agency", "Agency Board", "", say("moods"), of("seedream-v5", 2))
	w.workflow("penny", "Penny Stamp", "", say("a stamp"), of("gpt-image-2-mini", 1))
	w.workflow("penny", "Penny Mural", "", say("a wall"), of("seedance-2-0", 4))
	w.workflow("tess", "Tried Before", "", say("again"), of("nano-banana-2", 1))
	w.workflow("gwen", "Trial Poster", "", say("for nothing"), of("nano-banana-2", 1))
	w.workflow("newcomer", "Waiting Room", "", say("soon"), of("claude-sonnet", 1))
	for _, m := range models {
		units := 1.0
		w.said["models"].(object)[m.name] = object{"needs_tier": m.needs, "polled": m.polled, "disabled": m.disabled,
			"inputs": m.inputs, "cost_credits": priceOf([]use{{m, units}}, m.inputs)}
	}
}

// history fills the ledger: own and foreign rows, canvas runs and the names that providers use.
func (w *world) history() {
	type past struct {
		of   string
		rows int
	}
	var rows []*row
	for _, each := range []past{{"mara", 140}, {"rival", 9}, {"studio", 640}, {"group", 12}, {"agency", 4}, {"penny", 2}} {
		a := w.accounts[each.of]
		owned := []*workflow{}
		for _, slug := range slices.Sorted(maps.Keys(w.workflows)) {
			if w.workflows[slug].CreatedBy == a.id && !w.workflows[slug].fails {
				owned = append(owned, w.workflows[slug])
			}
		}
		for i := range each.rows {
			flow := owned[w.dice.Intn(len(owned))]
			r := &row{owner: a, slug: &flow.Slug, modelIDs: flow.modelIDs(), status: "completed", source: "api-workflow",
				took: 900 + w.dice.Intn(9000), requestID: "req_" + strings.ToLower(w.text(12)),
				created: w.begun.Add(-time.Duration(30+w.dice.Intn(40_000)) * time.Minute)}
			r.credits, _ = flow.estimate().(int)
			switch {
			case i%7 == 3:
				r.source, r.modelIDs = "canvas", []string{"kling-v3-motion"}
			case i%6 == 4 && rank(a.tier) >= ranks["business"]:
				m := models[w.dice.Intn(8)]
				r.slug, r.source, r.modelIDs, r.credits = nil, "api-slim", []string{m.name}, priceOf([]use{{m, 1}}, m.inputs)
			case i%5 == 2 && len(r.modelIDs) > 0:
				r.modelIDs = append(r.modelIDs, "fal:fal-ai/"+r.modelIDs[0])
			}
			if i%8 == 5 {
				r.status, r.errorCode = "failed", "EXECUTION_FAILED"
				if !w.way.chargeFailed {
					r.credits = 0
				}
			} else if i%20 == 9 {
				r.status = "cancelled"
			}
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return a.created.Compare(b.created) })
	for _, each := range rows {
		w.ledger.add(each)
	}
}

func main() {
	port := flag.Int("port", 0, "port of loopback; 0 takes a free one")
	seed := flag.Int64("seed", 1, "what keys, ids and history are drawn from")
	other := flag.Bool("other-way", false, "decide the open points in the other legal way")
	faultName := flag.String("fault", "", "break one documented thing")
	isList := flag.Bool("list", false, "print the faults and end")
	runSeconds := flag.Float64("run-seconds", 1.2, "how long an asynchronous run takes")
	hookURL := flag.String("webhook-url", "", "where the keys with a webhook deliver to")
	hookSecret := flag.String("webhook-secret", "whsec_for_local_trials_only", "what the first of them sign with")
	flag.StringVar(hookURL, "webhook", "", "the same as --webhook-url")
	flag.Parse()
	if *isList {
		listed, _ := json.MarshalIndent(faults, "", " ")
		fmt.Println(string(listed))
		return
	}
	if *faultName != "" && !slices.ContainsFunc(faults, func(f fault) bool { return f.Name == *faultName }) {
		log.Fatalf("no fault %q: see --list", *faultName)
	}
	s := &server{way: firstWay, fault: *faultName, runSeconds: time.Duration(*runSeconds * float64(time.Second)),
		keys: map[string]*apiKey{}, prefixes: map[string]*apiKey{}, workflows: map[string]*workflow{},
		executions: map[string]*execution{}, ran: map[string]*workflow{}, begun: time.Now(),
		limits: limiter{windows: map[string]*window{}},
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if *other {
		s.way = otherWay
	}
	said := object{"keys": object{}, "workflows": object{}, "models": object{}}
	w := &world{server: s, dice: rand.New(rand.NewSource(*seed)), hookURL: *hookURL, hookSecret: *hookSecret,
		said: said, accounts: map[string]*account{}}
	w.people()
	w.documents()
	w.history()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	said["base_url"] = "http://" + listener.Addr().String()
	fmt.Println(string(encoded(said)))
	log.Fatal((&http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}).Serve(listener))
}
