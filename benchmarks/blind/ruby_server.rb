#!/usr/bin/env ruby
# frozen_string_literal: true

# A server of the Knouds REST API in Sinatra and Puma, with simulated providers.
#
#   ruby ruby_server.rb --port 0 [--webhook-url URL --webhook-secret TEXT] [--other-way] [--fault NAME] [--list]
#
# State lives in memory behind one monitor. Every [open] point of the page is a line of DECISIONS below:
# left what this server does, right what it does under --other-way.

require 'optparse'

# ---------------------------------------------------------------------------------------------- faults

# name => group; each breaks one [docs] or [overview] promise visibly over HTTP.
FAULTS = {
  'wildcard-too-wide'         => 'core',  # any `x:*` meets every requirement, not only those of resource x
  'bound-key-prefix'          => 'core',  # `workflow:poster:run` also runs `poster-wide`
  'bearer-accepted'           => 'core',  # Authorization: Bearer works as well as x-api-key
  'unapproved-reads'          => 'core',  # approval is only looked at on writing methods
  'foreign-execution-read'    => 'core',  # poll looks the id up without the account
  'cancel-ended-changes'      => 'core',  # cancel of an ended run answers as usual, but sets `cancelled`
  'cancel-charged-twice'      => 'core',  # cancel settles at once, and the end settles again
  'cancel-refunds'            => 'core',  # a cancelled run is given its credits back
  'balance-race'              => 'core',  # balance is read, and written back later, without the lock
  'trial-cost-shown'          => 'core',  # `cost` is not 0 though the trial grant paid
  'late-provider-wins'        => 'core',  # a provider that answers after the cancellation completes the run
  'free-cap-off-by-one'       => 'core',  # free accounts may create two workflows
  'write-implies-read'        => 'core',  # workflow:write passes for workflow:read
  'async-skips-tier'          => 'core',  # the tier of a model run is not looked at with ?async=true
  'run-buckets-shared'        => 'other', # the two run endpoints count into one bucket
  'window-restarts'           => 'other', # each request opens the 60 s window anew
  'no-retry-after'            => 'other', # 429 without the Retry-After header
  'signature-reserialised'    => 'other', # the signature is over a re-serialised (sorted) body
  'usage-last-row-lost'       => 'other', # a page that ends exactly at the total lacks its last row
  'usage-total-unfiltered'    => 'other', # `total` counts all rows where a filter is given
  'usage-canvas-rows'         => 'other', # the workflowSlug filter lets canvas rows through
  'slug-race'                 => 'other', # slug chosen outside the lock: two creates, one slug
  'public-schema-cost'        => 'other', # the public schema tells the cost
  'inputs-array-accepted'     => 'other'  # `inputs: []` is taken as no inputs
}.freeze

OPTS = { port: 0 }
OptionParser.new do |o|
  o.on('--port N', Integer) { |v| OPTS[:port] = v }
  o.on('--webhook-url URL') { |v| OPTS[:webhook_url] = v }
  o.on('--webhook-secret TEXT') { |v| OPTS[:webhook_secret] = v }
  o.on('--other-way') { OPTS[:other] = true }
  o.on('--fault NAME') { |v| OPTS[:fault] = v }
  o.on('--list') { OPTS[:list] = true }
end.parse!(ARGV)

if OPTS[:list]
  FAULTS.each { |name, group| puts "#{name}\t#{group}" }
  exit 0
end
abort "unknown fault: #{OPTS[:fault]}" if OPTS[:fault] && !FAULTS.key?(OPTS[:fault])

require 'json'
require 'time'
require 'digest'
require 'openssl'
require 'securerandom'
require 'monitor'
require 'net/http'
require 'uri'
require 'stringio'
require 'sinatra/base'
require 'puma'
require 'puma/server'

OTHER = OPTS[:other] ? true : false

def fault?(name) = OPTS[:fault] == name

# ------------------------------------------------------------------------------------------- decisions

DECISIONS = {
  # order of the checks after authentication
  order:               [%i[limit cap slug resource body], %i[slug body resource cap limit]],
  size_before_auth:    [false, true],
  # statuses and codes
  unauthorized_code:   %w[UNAUTHORIZED INVALID_API_KEY],
  unapproved_code:     %w[UNAUTHORIZED ACCOUNT_NOT_APPROVED],
  session_only:        [[403, 'SESSION_REQUIRED'], [404, 'NOT_FOUND']],
  bad_method:          [405, 404],
  too_large:           [[413, 'PAYLOAD_TOO_LARGE'], [400, 'INVALID_BODY']],
  max_body:            [1_048_576, 1_000_000],
  check_content_type:  [true, false],
  body_no_object:      %w[INVALID_BODY INVALID_INPUTS],
  bad_slug:            [[404, 'WORKFLOW_NOT_FOUND'], [400, 'INVALID_SLUG']], # outside the run endpoints
  unknown_workflow:    %w[WORKFLOW_NOT_FOUND NOT_FOUND],
  unknown_execution:   %w[EXECUTION_NOT_FOUND NOT_FOUND],
  bad_document:        [[400, 'INVALID_WORKFLOW'], [422, 'VALIDATION_FAILED']],
  free_cap:            [[403, 'WORKFLOW_LIMIT_REACHED'], [402, 'UPGRADE_REQUIRED']],
  foreign_private:     [[404, nil], [403, 'FORBIDDEN']],   # read and write of a private one
  foreign_template:    [[403, 'FORBIDDEN'], [404, nil]],   # write of a template
  template_readable:   [true, false],
  template_runnable:   [true, false],
  model_below_tier:    %w[MODEL_TIER_REQUIRED CAPABILITY_DENIED],
  star_needs_admin:    [true, false],
  required_as_list:    [true, false],
  # workflows
  create_status:       [201, 200],
  write_bodies:        %i[document short],
  unsluggable_name:    %i[fallback refuse],
  null_handles:        [true, false],
  no_description:      [:null, :absent],
  # runs and executions
  submit_status:       [200, 202],
  cancel_status:       [200, 202],
  cancel_ended:        [409, 200],
  provider_may_win:    [true, false],   # cancel_requested may end in completed or failed
  failed_charged:      [false, true],
  model_ms:            [true, false],
  poll_details:        [true, false],
  delivery_url:        [true, false],
  retries:             [[0.5, 1.0, 2.0], [0.3, 0.9]],
  # usage
  over_limit:          %i[clamp refuse],
  garbled_query:       %i[refuse ignore],
  cancelled_filters:   [true, false],
  first_page:          [1, 0],
  newest_first:        [true, false],
  requested_row:       %w[processing cancelled],
  running_duration:    [:null, :elapsed],
  running_cost:        [:zero, :reserved],
  models_shape:        %i[object array],
  models_count_canvas: [false, true],
  # rate limits
  limited_routes:      [:all, :runs],
  window:              %i[clock first_request],
  unlimited_headers:   [false, true],
  # spelling
  content_type:        ['application/json', 'application/json; charset=utf-8']
}.freeze

D = DECISIONS.transform_values { |v| v[OTHER ? 1 : 0] }.freeze

# A number spelled in exponent notation (--other-way).
Exponent = Struct.new(:value) do
  def to_json(*) = format('%.6e', value)
end

module Spell
  module_function

  def time(t)
    OTHER ? t.getlocal('+01:00').iso8601(6) : t.getutc.iso8601(3)
  end

  def usd(credits)
    OTHER ? Exponent.new(credits / 100.0) : credits / 100.0
  end

  def credits(n) = OTHER ? n.to_f : n
  def ms(seconds) = OTHER ? (seconds * 1000).round(3) : (seconds * 1000).round
  def request_id = OTHER ? SecureRandom.uuid : "req_#{SecureRandom.hex(12)}"
  def user_id = OTHER ? SecureRandom.uuid : "usr_#{SecureRandom.hex(8)}"
  def error(text) = OTHER ? "Request refused. #{text}" : text

  def json(value)
    return JSON.generate(value, max_nesting: 0) unless OTHER

    JSON.generate(reversed(value), max_nesting: 0, ascii_only: true, indent: '  ', space: ' ',
                                   object_nl: "\n", array_nl: "\n")
  end

  def reversed(value)
    case value
    when Hash then value.to_a.reverse.to_h { |k, v| [k, reversed(v)] }
    when Array then value.map { |v| reversed(v) }
    else value
    end
  end
end

class ApiError < StandardError
  attr_reader :status, :code, :context, :headers

  def initialize(status, code, text, context = {}, headers = {})
    super(text)
    @status = status
    @code = code
    @context = context
    @headers = headers
  end

  def body = Spell.json({ 'error' => Spell.error(message), 'code' => code }.merge(context))
end

# ------------------------------------------------------------------------------------------------ tiers

Tier = Struct.new(:id, :rank, :rate_limit, :monthly_credits, :api)

TIERS = [
  Tier.new('free', 0, 100, 250, false),
  Tier.new('creator', 1, 100, 1700, false),
  Tier.new('pro', 2, 100, 5000, true),
  Tier.new('business', 3, 1000, 11_329, true),
  Tier.new('enterprise', 4, nil, nil, true)
].to_h { |t| [t.id, t] }.freeze

# ----------------------------------------------------------------------------------------------- models

class Model
  attr_reader :name, :kind, :unit, :price, :polled, :needs_tier, :disabled, :fails, :sample, :seconds

  def initialize(name, kind:, unit:, price:, sample:, polled: false, needs_tier: nil, disabled: false,
                 fails: false, seconds: 0.2..0.6)
    @name = name
    @kind = kind
    @unit = unit
    @price = price
    @sample = sample
    @polled = polled
    @needs_tier = needs_tier
    @disabled = disabled
    @fails = fails
    @seconds = seconds
  end

  # Number of billed units the inputs ask for; nil where they ask for nonsense.
  def units(inputs)
    case unit
    when :image then whole(inputs, 'numImages', 1, 1..8)
    when :second then whole(inputs, 'duration', 5, 1..60)
    else 1
    end
  end

  def cost(inputs)
    n = units(inputs)
    n && n * price
  end

  def output(inputs)
    case kind
    when :images then { 'images' => Array.new(units(inputs) || 1) { asset('png') } }
    when :videos then { 'videos' => [asset('mp4')] }
    when :audios then { 'audios' => [asset('mp3')] }
    else
      text = "A reply to: #{inputs['prompt'].to_s[0, 200]}"
      { 'text' => OTHER ? text : [text] }
    end
  end

  private

  def whole(inputs, name, default, range)
    value = inputs[name]
    return default if value.nil?

    value.is_a?(Integer) && range.cover?(value) ? value : nil
  end

  def asset(ext) = "https://cdn.knouds.ai/outputs/#{SecureRandom.uuid}.#{ext}"
end

SUNO = OTHER ? 'suno-v5-chirp' : 'suno-v5'
PHOTO = 'https://cdn.knouds.ai/samples/kite.png'

MODELS = [
  Model.new('nano-banana-2', kind: :images, unit: :image, price: 4,
                             sample: { 'prompt' => 'a red kite over the sea', 'numImages' => 1 }),
  Model.new('seedream-v5', kind: :images, unit: :image, price: 3,
                           sample: { 'prompt' => 'a lighthouse at dawn', 'numImages' => 2 }),
  Model.new('kling-v3-i2v', kind: :videos, unit: :second, price: 2,
                            sample: { 'prompt' => 'the kite rises', 'image' => PHOTO, 'duration' => 5 }),
  Model.new('kling-o3-ref2v', kind: :videos, unit: :second, price: 3, disabled: true,
                              sample: { 'prompt' => 'the kite turns', 'image' => PHOTO, 'duration' => 5 }),
  Model.new('kling-v3-motion', kind: :videos, unit: :second, price: 2, fails: true,
                               sample: { 'prompt' => 'the kite falls', 'image' => PHOTO, 'duration' => 5 }),
  Model.new('claude-sonnet', kind: :text, unit: :call, price: 1,
                             sample: { 'prompt' => 'Name three kinds of kite.' }),
  Model.new('seedance-2-0-full-access', kind: :videos, unit: :second, price: 3, polled: true,
                                        needs_tier: 'business', seconds: 0.9..1.4,
                                        sample: { 'prompt' => 'a dance in the rain', 'duration' => 5 }),
  Model.new('gpt-image-2', kind: :images, unit: :image, price: 5, polled: true, seconds: 0.4..0.9,
                           sample: { 'prompt' => 'a map of an island', 'numImages' => 1 }),
  Model.new(SUNO, kind: :audios, unit: :call, price: 8, polled: true, seconds: 0.7..1.2,
                  sample: { 'prompt' => 'a sea shanty' })
].to_h { |m| [m.name, m] }.freeze

# --------------------------------------------------------------------------------------------- accounts

Account = Struct.new(:name, :id, :email, :role, :tier, :approved, :credits, :grant, keyword_init: true) do
  def admin? = role == 'admin'
  def rank = TIERS[tier]&.rank || 0
  def rate_limit = admin? ? nil : TIERS[tier]&.rate_limit
end

Hook = Struct.new(:url, :secret)

ApiKey = Struct.new(:name, :secret, :capabilities, :account, :state, :hook, keyword_init: true) do
  def holds?(required, bound = nil)
    return true if capabilities.include?('*') && (account.admin? || !D[:star_needs_admin])
    return true if capabilities.include?(required)
    return true if capabilities.include?("#{required.split(':').first}:*")
    return true if bound && bound?(bound)
    return true if fault?('wildcard-too-wide') && capabilities.any? { |c| c.end_with?(':*') }
    return true if fault?('write-implies-read') && required == 'workflow:read' && capabilities.include?('workflow:write')

    false
  end

  private

  def bound?(bound)
    return capabilities.include?(bound) unless fault?('bound-key-prefix')

    resource, name, = bound.split(':')
    capabilities.any? do |c|
      r, n, action = c.split(':')
      r == resource && action == 'run' && name.start_with?(n)
    end
  end
end

# -------------------------------------------------------------------------------------------- workflows

# The graph of a workflow: what its nodes mean.
class Workflow
  DOCUMENT = %w[name description tags nodes edges viewport publicPlayground folderId].freeze

  attr_accessor :slug, :owner, :doc, :updated_at, :template, :slow

  def initialize(slug, owner, doc, template: false, slow: false)
    @slug = slug
    @owner = owner
    @doc = doc
    @template = template
    @slow = slow
    @updated_at = Time.now
  end

  def name = doc['name']
  def public? = doc['publicPlayground'] == true

  def touch
    now = Time.now
    @updated_at = now > @updated_at + 0.001 ? now : @updated_at + 0.001
  end

  def nodes_like(pattern) = doc['nodes'].select { |n| n['type'].downcase.gsub(/[^a-z]/, '').match?(pattern) }
  def generators = nodes_like(/generat|\A(?:ai)?model\z/)
  def model_name(node) = node['data'].values_at('model', 'modelId', 'internalName').find { |v| v.is_a?(String) }
  def model_ids = generators.filter_map { |n| model_name(n) }.uniq

  def estimate
    return nil if generators.empty?

    generators.sum do |n|
      model = MODELS[model_name(n)]
      model ? model.cost(n['data']) || model.price : 0
    end
  end

  # A generator without a usable model cannot be run.
  def fails?
    generators.any? do |n|
      model = MODELS[model_name(n)]
      model.nil? || model.disabled || model.fails
    end
  end

  def fields
    node = nodes_like(/\A(?:request)?inputs?\z|requestinput/).first
    list = node && node['data']['fields']
    return [] unless list.is_a?(Array)

    list.select { |f| f.is_a?(Hash) && f['name'].is_a?(String) }
        .map { |f| f['type'].is_a?(String) ? f : f.merge('type' => 'text') }
  end

  def values = fields.to_h { |f| [f['name'], f.key?('value') ? f['value'] : f['default']] }

  def run(inputs)
    given = values.merge(inputs)
    return { 'text' => text(given['prompt'] || name) } if generators.empty?

    generators.map { |n| MODELS[model_name(n)].output(given.merge(n['data'])) }
              .reduce { |a, b| a.merge(b) { |_, x, y| OTHER && x.is_a?(String) ? "#{x}\n#{y}" : x + y } }
  end

  def seconds = slow ? (1.0..1.45) : (0.2..0.6)

  def summary
    s = { 'slug' => slug, 'name' => name, 'description' => doc['description'], 'tags' => doc['tags'] || [],
          'isTemplate' => template, 'hidden' => false, 'archived' => false, 'createdBy' => owner.id,
          'estimatedCreditCost' => estimate, 'folderId' => doc['folderId'],
          'updatedAt' => Spell.time(updated_at) }
    s.delete('description') if s['description'].nil? && D[:no_description] == :absent
    s.merge!('cover' => nil, 'thumbnail' => nil) if OTHER
    s
  end

  def document
    d = { 'slug' => slug }.merge(DOCUMENT.to_h { |k| [k, doc[k]] })
    d['createdBy'] = owner.id
    d['updatedAt'] = Spell.time(updated_at)
    if d['description'].nil?
      OTHER ? d['description'] = '' : d.delete('description')
    end
    OTHER && d['tags'].nil? ? d.delete('tags') : d['tags'] ||= []
    OTHER && !d['publicPlayground'] ? d.delete('publicPlayground') : d['publicPlayground'] ||= false
    d
  end

  def schema(with_cost)
    s = { 'fields' => fields, 'values' => values, 'name' => name, 'description' => doc['description'] || '' }
    s['estimatedCreditCost'] = estimate if with_cost
    s
  end

  private

  def text(t) = OTHER ? t.to_s : [t.to_s]
end

# Checks the members of a document that a client sends; returns those that the server keeps.
module Document
  module_function

  def clean(body, create:)
    kept = body.slice(*Workflow::DOCUMENT)
    name(kept) if create || kept.key?('name')
    must(kept, 'description', 'text or null') { |v| v.nil? || v.is_a?(String) }
    must(kept, 'tags', 'a list of texts') { |v| v.nil? || (v.is_a?(Array) && v.all?(String)) }
    must(kept, 'nodes', 'a list of nodes') { |v| v.is_a?(Array) && v.all? { |n| node?(n) } && unique?(v) }
    must(kept, 'edges', 'a list of edges') { |v| v.is_a?(Array) && v.all? { |e| edge?(e) } && unique?(v) }
    must(kept, 'viewport', 'an object of x, y and zoom') { |v| numbers?(v, %w[x y zoom]) }
    must(kept, 'publicPlayground', 'true or false') { |v| [true, false, nil].include?(v) }
    must(kept, 'folderId', 'text or null') { |v| folder?(v) }
    kept
  end

  def folder?(value) = value.nil? || (value.is_a?(String) && !value.strip.empty? && value.size <= 200)

  def name(kept)
    value = kept['name']
    ok = value.is_a?(String) && !value.strip.empty? && value.size <= 200
    ok &&= !slugify(value).empty? if D[:unsluggable_name] == :refuse
    refuse('name must be a text of 1 to 200 characters') unless ok
  end

  def must(kept, member, what)
    refuse("#{member} must be #{what}") if kept.key?(member) && !yield(kept[member])
  end

  def refuse(text)
    status, code = D[:bad_document]
    raise ApiError.new(status, code, text)
  end

  def node?(node)
    node.is_a?(Hash) && text?(node['id']) && text?(node['type']) &&
      numbers?(node['position'], %w[x y]) && node['data'].is_a?(Hash)
  end

  def edge?(edge)
    edge.is_a?(Hash) && %w[id source target].all? { |k| text?(edge[k]) } &&
      %w[sourceHandle targetHandle].all? { |k| edge[k].is_a?(String) || (edge[k].nil? && D[:null_handles]) }
  end

  def text?(value) = value.is_a?(String) && !value.empty?
  def numbers?(value, keys) = value.is_a?(Hash) && keys.all? { |k| value[k].is_a?(Numeric) }
  def unique?(list) = list.map { |x| x['id'] }.uniq.size == list.size

  def slugify(name)
    name.unicode_normalize(:nfkd).gsub(/\p{Mn}/, '').downcase.gsub(/[^a-z0-9]+/, '-').gsub(/\A-+|-+\z/, '')
  end
end

# ------------------------------------------------------------------------------------------------- runs

Run = Struct.new(:id, :execution_id, :request_id, :account, :key, :slug, :model_ids, :source, :status, :async,
                 :price, :paid_by, :settled, :credits_cost, :result, :error, :created_at, :started, :took,
                 keyword_init: true) do
  def final? = %w[completed failed cancelled].include?(status)

  def row_status = status == 'cancel_requested' ? D[:requested_row] : status

  def duration
    return took if took

    D[:running_duration] == :elapsed ? ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - started) * 1000).round : nil
  end

  def row
    spent = settled || D[:running_cost] == :zero ? credits_cost : (paid_by == :credits ? price : 0)
    { 'id' => id, 'userId' => account.id, 'workflowSlug' => slug,
      'modelIds' => model_ids.reject { |m| m.include?(':') }, 'status' => row_status, 'source' => source,
      'cost' => Spell.usd(spent), 'userCost' => Spell.usd(spent), 'creditsCost' => spent,
      'durationMs' => duration, 'errorCode' => error && error['code'], 'requestId' => request_id,
      'createdAt' => Spell.time(created_at) }
  end

  def poll
    p = { 'executionId' => execution_id, 'status' => status }
    if D[:poll_details]
      p.merge!('requestId' => request_id, 'workflowSlug' => slug, 'modelIds' => model_ids,
               'createdAt' => Spell.time(created_at))
    end
    p['result'] = result if status == 'completed'
    p['error'] = error if status == 'failed'
    p
  end

  def event
    e = { 'event' => "execution.#{status}", 'executionId' => execution_id, 'requestId' => request_id,
          'userId' => account.id, 'workflowSlug' => slug, 'modelIds' => model_ids, 'status' => status }
    e['result'] = result if status == 'completed'
    e['error'] = error if status == 'failed'
    e.merge!('cost' => credits_cost, 'timestamp' => Spell.time(Time.now)) if OTHER
    e
  end
end

# Jobs that are due later, done by a few threads of their own.
class Timer
  def initialize(threads)
    @jobs = []
    @lock = Mutex.new
    @more = ConditionVariable.new
    threads.times { Thread.new { work } }
  end

  def after(seconds, &job)
    @lock.synchronize do
      due = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
      at = @jobs.bsearch_index { |d, _| d > due } || @jobs.size
      @jobs.insert(at, [due, job])
      @more.broadcast
    end
  end

  private

  def work
    loop do
      job = take
      job.call
    rescue StandardError => e
      warn "job: #{e.class}: #{e.message}"
    end
  end

  def take
    @lock.synchronize do
      loop do
        wait = @jobs.empty? ? nil : @jobs.first[0] - Process.clock_gettime(Process::CLOCK_MONOTONIC)
        return @jobs.shift[1] if wait && wait <= 0

        @more.wait(@lock, wait)
      end
    end
  end
end

# Signed deliveries, tried again a few times.
module Webhooks
  TIMER = Timer.new(6)

  module_function

  def enqueue(hook, event)
    raw = Spell.json(event)
    TIMER.after(0) { attempt(hook, raw, D[:retries].dup) }
  end

  def attempt(hook, raw, pauses)
    return if delivered?(hook, raw)

    pause = pauses.shift
    TIMER.after(pause) { attempt(hook, raw, pauses) } if pause
  end

  def delivered?(hook, raw)
    uri = URI(hook.url)
    request = Net::HTTP::Post.new(uri.request_uri)
    request['Content-Type'] = 'application/json'
    request['User-Agent'] = 'Knouds-Webhooks'
    request['X-Knouds-Signature'] = signature(hook.secret, raw)
    request.body = raw
    http = Net::HTTP.new(uri.host, uri.port, nil)
    http.use_ssl = uri.scheme == 'https'
    http.open_timeout = 3
    http.read_timeout = 5
    http.max_retries = 0
    http.start { |h| h.request(request) }.is_a?(Net::HTTPSuccess)
  rescue StandardError => e
    warn "webhook: #{e.class}: #{e.message}"
    false
  end

  def signature(secret, raw)
    t = Time.now.to_i
    signed = fault?('signature-reserialised') ? JSON.generate(JSON.parse(raw).sort.to_h) : raw
    "t=#{t},v1=#{OpenSSL::HMAC.hexdigest('SHA256', secret, "#{t}.#{signed}")}"
  end
end

# Fixed windows of 60 seconds.
class Limiter
  WINDOW = 60
  Verdict = Struct.new(:allowed, :limit, :remaining, :reset, :retry_after)

  def initialize
    @lock = Mutex.new
    @windows = {}
  end

  def hit(bucket, limit)
    @lock.synchronize do
      now = Time.now.to_f
      start, count = @windows[bucket]
      start, count = opening(now), 0 if start.nil? || now >= start + WINDOW
      start = now if fault?('window-restarts')
      count += 1
      @windows[bucket] = [start, count]
      reset = (start + WINDOW).ceil
      Verdict.new(count <= limit, limit, [limit - count, 0].max, reset, [(start + WINDOW - now).ceil, 1].max)
    end
  end

  private

  def opening(now) = D[:window] == :clock ? (now / WINDOW).floor * WINDOW : now
end

# ------------------------------------------------------------------------------------------------ store

# Everything that the server knows. All that changes is changed under the one lock.
class Store
  attr_reader :accounts, :keys, :workflows

  def initialize
    @lock = Monitor.new
    @accounts = {}
    @keys = {}
    @by_digest = {}
    @workflows = {}
    @runs = []
    @by_execution = {}
    @timer = Timer.new(3)
  end

  def sync(&) = @lock.synchronize(&)

  # -- accounts and keys

  def add_account(name, tier:, role: 'user', approved: true, credits: 1_000_000, grant: nil)
    @accounts[name] = Account.new(name:, id: Spell.user_id, email: "#{name.tr('_', '.')}@example.com", role:,
                                  tier:, approved:, credits:, grant:)
  end

  def add_key(name, account, capabilities, state: 'active')
    secret = "knouds_live_#{SecureRandom.alphanumeric(40)}"
    key = ApiKey.new(name:, secret:, capabilities:, account: @accounts.fetch(account), state:)
    if OPTS[:webhook_url] && state == 'active' && key.holds?('webhook:receive')
      key.hook = Hook.new(OPTS[:webhook_url], OPTS[:webhook_secret] || "whsec_#{SecureRandom.hex(24)}")
    end
    @keys[name] = key
    @by_digest[Digest::SHA256.digest(secret)] = key
  end

  def key(secret) = @by_digest[Digest::SHA256.digest(secret)]

  # -- workflows

  def workflow(slug) = sync { @workflows[slug] }

  def seed_workflow(workflow) = @workflows[workflow.slug] = workflow

  def visible(account)
    sync { @workflows.values.select { |w| w.owner.equal?(account) || w.template } }
  end

  def create_workflow(account, doc)
    if fault?('slug-race')
      slug = free_slug(doc['name'])
      sleep 0.03
    end
    sync do
      capped(account)
      slug ||= free_slug(doc['name'])
      @workflows[slug] = Workflow.new(slug, account, blank.merge(doc))
    end
  end

  def update_workflow(workflow, changes)
    sync do
      gone(workflow)
      workflow.doc = workflow.doc.merge(changes)
      workflow.touch
      workflow
    end
  end

  def delete_workflow(workflow)
    sync do
      gone(workflow)
      @workflows.delete(workflow.slug)
    end
  end

  # -- runs

  # Reserves the price, and opens the run. Raises 402 where nothing can pay.
  def open_run(account:, key:, price:, slug:, model_ids:, source:, async:)
    paid_by = reserve(account, price)
    sync do
      run = Run.new(id: @runs.size + 1, execution_id: SecureRandom.uuid, request_id: Spell.request_id, account:, key:,
                    slug:, model_ids:, source:, status: 'processing', async:, price:, paid_by:, settled: false,
                    credits_cost: 0, created_at: Time.now, started: Process.clock_gettime(Process::CLOCK_MONOTONIC))
      @runs << run
      @by_execution[run.execution_id] = run if async
      run
    end
  end

  # The provider answers `seconds` from now.
  def schedule(run, seconds, &outcome)
    @timer.after(seconds) do
      result, error = outcome.call
      finish(run, error ? 'failed' : 'completed', result:, error:)
    end
  end

  # Ends a run once; nothing leaves a final status.
  def finish(run, status, result: nil, error: nil)
    sync do
      late = fault?('late-provider-wins') && run.status == 'cancelled'
      return false if run.final? && !late
      return false if run.status == 'cancel_requested' && status != 'cancelled' && !D[:provider_may_win] && !fault?('late-provider-wins')

      run.status = status
      run.result = result
      run.error = error
      run.took = ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - run.started) * 1000).round
      settle(run, charge: charged?(status))
      Webhooks.enqueue(run.key.hook, run.event) if run.async && run.key.hook && !late
      true
    end
  end

  def execution(account, id)
    sync do
      run = @by_execution[id]
      run if run && (run.account.equal?(account) || fault?('foreign-execution-read'))
    end
  end

  def own_execution(account, id)
    sync do
      run = @by_execution[id]
      run if run && run.account.equal?(account)
    end
  end

  # Asks for the end of a run in flight: true where it was in flight.
  def cancel(run)
    sync do
      if run.final?
        run.status = 'cancelled' if fault?('cancel-ended-changes')
        return false
      end
      if run.status == 'processing'
        run.status = 'cancel_requested'
        settle(run, charge: true) if fault?('cancel-charged-twice')
        @timer.after(OTHER ? 0.1 : rand(0.15..0.3)) { finish(run, 'cancelled') }
      end
      true
    end
  end

  # -- usage

  def rows(account, status: nil, model: nil, slug: nil)
    sync do
      mine = @runs.select do |r|
        r.account.equal?(account) && (r.source != 'canvas' || (slug && fault?('usage-canvas-rows')))
      end
      hits = mine.select do |r|
        (status.nil? || r.row_status == status) && (slug.nil? || r.slug == slug) &&
          (model.nil? || r.model_ids.reject { |m| m.include?(':') }.include?(model))
      end
      hits.reverse! if D[:newest_first]
      total = fault?('usage-total-unfiltered') ? mine.size : hits.size
      [hits, total]
    end
  end

  def used_models(account)
    sync do
      @runs.select { |r| r.account.equal?(account) && (r.source != 'canvas' || D[:models_count_canvas]) }
           .flat_map(&:model_ids).reject { |m| m.include?(':') }.uniq
    end
  end

  def seed_canvas_run(account, slug, model_ids)
    @runs << Run.new(id: @runs.size + 1, execution_id: SecureRandom.uuid, request_id: Spell.request_id,
                     account: @accounts.fetch(account), slug:, model_ids:, source: 'canvas', status: 'completed',
                     async: false, price: 4, paid_by: :credits, settled: true, credits_cost: 4, took: 1234,
                     created_at: Time.now - 86_400, started: 0.0)
  end

  private

  def blank
    { 'description' => nil, 'tags' => nil, 'nodes' => [], 'edges' => [],
      'viewport' => { 'x' => 0, 'y' => 0, 'zoom' => 1 }, 'publicPlayground' => false, 'folderId' => nil }
  end

  def gone(workflow)
    return if @workflows[workflow.slug].equal?(workflow)

    raise ApiError.new(404, D[:unknown_workflow], 'There is no such workflow.')
  end

  def capped(account)
    return if account.tier != 'free' || account.admin?

    created = @workflows.values.count { |w| w.owner.equal?(account) }
    return if created < (fault?('free-cap-off-by-one') ? 2 : 1)

    status, code = D[:free_cap]
    raise ApiError.new(status, code, 'The free tier is capped at one workflow.')
  end

  def free_slug(name)
    base = Document.slugify(name)
    base = 'workflow' if base.empty?
    return base unless @workflows.key?(base)

    n = 2
    n += 1 while @workflows.key?("#{base}-#{n}")
    "#{base}-#{n}"
  end

  # Takes the price from the trial grant or the balance; says which.
  def reserve(account, price)
    return nil if price.zero?
    return racy_reserve(account, price) if fault?('balance-race') && account.grant.nil?

    sync do
      if account.grant && account.grant >= price
        account.grant -= price
        :grant
      elsif account.credits >= price
        account.credits -= price
        :credits
      else
        broke(account)
      end
    end
  end

  def racy_reserve(account, price)
    balance = account.credits
    broke(account) if balance < price
    sleep 0.02
    account.credits = balance - price
    :credits
  end

  def broke(account)
    raise ApiError.new(402, 'grant_exhausted', 'The trial grant is used up.') if account.grant

    raise ApiError.new(402, 'INSUFFICIENT_CREDITS', 'The account has too few credits for this run.')
  end

  def charged?(status)
    case status
    when 'completed' then true
    when 'cancelled' then !fault?('cancel-refunds')
    else D[:failed_charged]
    end
  end

  # Turns the reservation into a charge, or gives it back; once per run.
  def settle(run, charge:)
    return if run.settled && !fault?('cancel-charged-twice')

    again = run.settled
    run.settled = true
    if charge
      run.account.credits -= run.price if again && run.paid_by == :credits
      run.credits_cost += run.price if run.paid_by == :credits
    elsif run.paid_by == :credits
      run.account.credits += run.price
    elsif run.paid_by == :grant
      run.account.grant += run.price
    end
  end
end

# ------------------------------------------------------------------------------------------------- seed

module Seed
  FULL = %w[workflow:run workflow:read workflow:write webhook:receive execution:read execution:cancel].freeze
  FULL_BUSINESS = (FULL + %w[model:run]).freeze

  module_function

  def fill(store)
    accounts(store)
    keys(store)
    workflows(store)
    store.seed_canvas_run('business', 'poster', %w[nano-banana-2 fal:nano-banana-2-edit])
    store.seed_canvas_run('business', nil, %w[kling-o3-ref2v fal:kling-o3])
    store.seed_canvas_run('pro', 'pro-note', %w[kling-o3-ref2v])
    store
  end

  def accounts(store)
    store.add_account('enterprise', tier: 'enterprise')
    store.add_account('business', tier: 'business')
    store.add_account('business_two', tier: 'business')
    store.add_account('pro', tier: 'pro')
    store.add_account('creator', tier: 'creator')
    store.add_account('free', tier: 'free', credits: 250)
    store.add_account('admin', tier: 'pro', role: 'admin')
    store.add_account('poor', tier: 'business', credits: 3)
    store.add_account('trial_used', tier: 'business', credits: 0, grant: 0)
    store.add_account('trial_pays', tier: 'business', credits: 0, grant: 1_000_000)
    store.add_account('newcomer', tier: 'business', approved: false)
  end

  def keys(store)
    store.add_key('full', 'business', FULL_BUSINESS)
    FULL_BUSINESS.each { |c| store.add_key("only_#{c.tr(':', '_')}", 'business', [c]) }
    %w[workflow model execution webhook].each { |r| store.add_key("wild_#{r}", 'business', ["#{r}:*"]) }
    store.add_key('bound_workflow', 'business', ['workflow:poster:run'])
    store.add_key('bound_model', 'business', ['model:nano-banana-2:run'])
    store.add_key('bound_async', 'business', ['workflow:long-film:run', 'execution:read', 'execution:cancel', 'webhook:receive'])
    store.add_key('no_webhook', 'business', FULL_BUSINESS - %w[webhook:receive])
    store.add_key('read_only', 'business', ['workflow:read'])
    store.add_key('deploy', 'business', %w[workflow:run workflow:read])
    store.add_key('nothing', 'business', [])
    store.add_key('star_user', 'business', ['*'])
    store.add_key('revoked', 'business', FULL_BUSINESS, state: 'revoked')
    store.add_key('legacy', 'business', FULL_BUSINESS, state: 'legacy')
    store.add_key('enterprise_full', 'enterprise', FULL_BUSINESS)
    store.add_key('business_two_full', 'business_two', FULL_BUSINESS)
    store.add_key('pro_full', 'pro', FULL)
    store.add_key('pro_second', 'pro', FULL)
    store.add_key('pro_reader', 'pro', %w[workflow:read execution:read])
    store.add_key('pro_model', 'pro', FULL + %w[model:run])
    store.add_key('creator', 'creator', FULL)
    store.add_key('free', 'free', FULL)
    store.add_key('admin', 'admin', ['*'])
    store.add_key('poor', 'poor', FULL_BUSINESS)
    store.add_key('trial_used', 'trial_used', FULL_BUSINESS)
    store.add_key('trial_pays', 'trial_pays', FULL_BUSINESS)
    store.add_key('unapproved', 'newcomer', FULL_BUSINESS, state: 'unapproved')
  end

  def workflows(store)
    plant(store, 'business', 'Poster', %w[nano-banana-2], description: 'A poster from a prompt.', tags: %w[image])
    plant(store, 'business', 'Poster Wide', %w[seedream-v5 claude-sonnet])
    plant(store, 'business', 'Public Poster', %w[nano-banana-2], public: true, description: 'Try me.')
    plant(store, 'business', 'Long Film', %w[seedance-2-0-full-access], slow: true)
    plant(store, 'business', 'Always Fails', %w[claude-sonnet kling-v3-motion])
    plant(store, 'business', 'Plain Text', [])
    plant(store, 'business_two', 'Gallery Template', %w[seedream-v5], template: true, description: 'A starting point.')
    plant(store, 'business_two', 'Second Private', %w[claude-sonnet])
    plant(store, 'enterprise', 'Enterprise Note', %w[claude-sonnet])
    plant(store, 'enterprise', 'Enterprise Film', %w[seedance-2-0-full-access], slow: true)
    plant(store, 'pro', 'Pro Note', %w[claude-sonnet])
    plant(store, 'pro', 'Pro Film', %w[gpt-image-2], slow: true)
    plant(store, 'admin', 'Admin Note', %w[claude-sonnet])
    plant(store, 'poor', 'Poor Note', %w[claude-sonnet claude-sonnet])
    plant(store, 'poor', 'Poor Film', %w[claude-sonnet], slow: true)
    plant(store, 'trial_used', 'Trial Used Note', %w[claude-sonnet])
    plant(store, 'trial_pays', 'Trial Pays Note', %w[claude-sonnet])
  end

  def plant(store, owner, name, models, public: false, template: false, slow: false, description: nil, tags: nil)
    slug = Document.slugify(name)
    store.seed_workflow(Workflow.new(slug, store.accounts.fetch(owner),
                                     graph(models).merge('name' => name, 'description' => description, 'tags' => tags,
                                                         'publicPlayground' => public, 'folderId' => nil,
                                                         'viewport' => { 'x' => 0, 'y' => 0, 'zoom' => 1 }),
                                     template:, slow:))
  end

  def graph(models)
    types = OTHER ? ['Request Input', 'Generator', 'Response Output'] : %w[requestInput generator responseOutput]
    nodes = [node('in', types[0], 0, 'fields' => fields)]
    models.each_with_index { |m, i| nodes << node("gen-#{i + 1}", types[1], i + 1, 'model' => m) }
    nodes << node('out', types[2], models.size + 1, 'outputs' => ['result'])
    edges = nodes.each_cons(2).map do |a, b|
      { 'id' => "#{a['id']}-#{b['id']}", 'source' => a['id'], 'target' => b['id'], 'sourceHandle' => 'out',
        'targetHandle' => 'in' }
    end
    { 'nodes' => nodes, 'edges' => edges }
  end

  def node(id, type, column, data)
    { 'id' => id, 'type' => type, 'position' => { 'x' => column * 240, 'y' => 80 }, 'data' => data }
  end

  def fields
    [{ 'name' => 'prompt', 'type' => 'textarea', 'label' => 'Prompt', 'default' => 'a red kite' },
     { 'name' => 'strength', 'type' => 'slider', 'min' => 0, 'max' => 100, 'step' => 5, 'default' => 50 },
     { 'name' => 'style', 'type' => 'pills', 'options' => %w[photo drawing], 'default' => 'photo' },
     { 'name' => 'loop', 'type' => 'toggle', 'default' => false }]
  end
end

STORE = Seed.fill(Store.new)
LIMITER = Limiter.new

# ------------------------------------------------------------------------------------------------ front

# Reads the body (bounded) and hides it and the query from Sinatra, which would otherwise parse both by itself;
# answers what cannot be a path, and whatever should escape from the application.
class Front
  def initialize(app)
    @app = app
  end

  def call(env)
    take_body(env)
    env['knouds.query'] = env['QUERY_STRING'].to_s
    env['QUERY_STRING'] = ''
    path = URI.decode_uri_component(env['PATH_INFO'].to_s.gsub(/%(?!\h\h)/, '%25'))
    return refuse(env, ApiError.new(404, 'NOT_FOUND', 'There is nothing here.')) unless path.valid_encoding? && !path.include?("\0")

    @app.call(env)
  rescue StandardError => e
    warn "#{e.class}: #{e.message}\n#{e.backtrace&.first(5)&.join("\n")}"
    refuse(env, ApiError.new(500, 'INTERNAL_ERROR', 'Something went wrong on our side.'))
  end

  private

  def take_body(env)
    raw = ''.b
    large = env['CONTENT_LENGTH'].to_i > D[:max_body]
    unless large
      raw = env['rack.input']&.read(D[:max_body] + 1) || ''.b
      large = raw.bytesize > D[:max_body]
    end
    env['knouds.body'] = raw
    env['knouds.large'] = large
    env['knouds.type'] = env.delete('CONTENT_TYPE')
    env['rack.input'] = StringIO.new(''.b)
    env.delete('CONTENT_LENGTH')
  end

  def refuse(env, error)
    body = error.body
    [error.status, { 'content-type' => D[:content_type], 'content-length' => body.bytesize.to_s },
     env['REQUEST_METHOD'] == 'HEAD' ? [] : [body]]
  end
end

# ---------------------------------------------------------------------------------------------- the API

class Api < Sinatra::Base
  set :environment, :production
  set :host_authorization, {}
  disable :protection, :static, :sessions, :logging, :show_exceptions, :raise_errors, :dump_errors, :x_cascade
  set :strict_paths, true
  set :default_content_type, D[:content_type]
  set :add_charset, []
  use Front

  ROUTES = {
    %r{\A/api/whoami\z} => %w[GET],
    %r{\A/api/workflows\z} => %w[GET POST],
    %r{\A/api/workflows/[^/]+\z} => %w[GET PUT DELETE],
    %r{\A/api/workflows/[^/]+/(?:schema|public-schema)\z} => %w[GET],
    %r{\A/api/workflows/[^/]+/move\z} => %w[PUT],
    %r{\A/api/workflows/[^/]+/run\z} => %w[POST],
    %r{\A/api/models/[^/]+/run\z} => %w[POST],
    %r{\A/api/executions/[^/]+\z} => %w[GET],
    %r{\A/api/executions/[^/]+/cancel\z} => %w[POST],
    %r{\A/api/usage(?:/models)?\z} => %w[GET],
    %r{\A/api/(?:pricing/public|health)\z} => %w[GET]
  }.freeze
  SESSION_ONLY = %r{\A/api/(?:me|credits|api-keys|business/admin)(?:/|\z)}
  SLUG = /\A[a-z0-9-]+\z/

  # ---- errors

  error ApiError do |e|
    status e.status
    headers e.headers
    body e.body
  end

  error do |e|
    warn "#{e.class}: #{e.message}\n#{e.backtrace&.first(5)&.join("\n")}"
    status 500
    body ApiError.new(500, 'INTERNAL_ERROR', 'Something went wrong on our side.').body
  end

  not_found do
    status 404
    body ApiError.new(404, 'NOT_FOUND', 'There is nothing here.').body
  end

  # ---- before each request

  before do
    content_type D[:content_type]
    size! if D[:size_before_auth]
    session_only! if request.path_info.match?(SESSION_ONLY)
    _, methods = ROUTES.find { |pattern, _| request.path_info.match?(pattern) }
    refuse!(404, 'NOT_FOUND', 'There is nothing here.') unless methods
    methods += %w[HEAD] if methods.include?('GET')
    unless methods.include?(request.request_method)
      refuse!(404, 'NOT_FOUND', 'There is nothing here.') if D[:bad_method] == 404
      refuse!(405, 'METHOD_NOT_ALLOWED', "Allowed here: #{methods.join(', ')}.", {}, 'Allow' => methods.join(', '))
    end
  end

  helpers do
    def refuse!(status, code, text, context = {}, headers = {})
      raise ApiError.new(status, code, text, context, headers)
    end

    def reply(value, code = 200)
      status code
      body Spell.json(value)
    end

    def me = @key.account
    def slug = params['slug']

    # ---- the checks

    # Authentication, then the other checks in the order decided on.
    def enter(route, limited: D[:limited_routes] == :all, **checks)
      authenticate!
      size!
      checks[:limit] = -> { limit!(route) } if limited
      D[:order].each { |name| checks[name]&.call }
    end

    def authenticate!
      secret = env['HTTP_X_API_KEY']
      secret ||= env['HTTP_AUTHORIZATION'].to_s[/\ABearer (.+)\z/, 1] if fault?('bearer-accepted')
      key = STORE.key(secret) if secret&.start_with?('knouds_live_')
      unauthorized!(D[:unauthorized_code], 'Unauthorized') if key.nil? || key.state == 'revoked'
      unauthorized!('LEGACY_KEY_RETIRED', 'This key is of the retired generation; make a new one.') if key.state == 'legacy'
      lax = fault?('unapproved-reads') && %w[GET HEAD].include?(request.request_method)
      unauthorized!(D[:unapproved_code], 'Unauthorized') unless key.account.approved || lax
      @key = key
    end

    def unauthorized!(code, text)
      refuse!(401, code, text, {}, 'WWW-Authenticate' => 'ApiKey realm="knouds"')
    end

    def session_only!
      status, code = D[:session_only]
      authenticate! unless status == 404
      refuse!(status, code, 'This is for browser sessions only; no API key reaches it.')
    end

    def size!
      return unless env['knouds.large']

      status, code = D[:too_large]
      refuse!(status, code, "A body may have #{D[:max_body]} bytes at most.")
    end

    def need!(required, bound = nil)
      return if @key.holds?(required, bound)

      named = bound && D[:required_as_list] ? [required, bound] : required
      refuse!(403, 'CAPABILITY_DENIED', "This key lacks #{[*named].join(' or ')}.", { 'required' => named })
    end

    def limit!(route)
      limit = me.rate_limit
      return unlimited(route) if limit.nil?

      route = 'run' if fault?('run-buckets-shared') && route.end_with?('/run')
      v = LIMITER.hit([me.id, route], limit)
      three = { 'X-RateLimit-Limit' => v.limit.to_s, 'X-RateLimit-Remaining' => v.remaining.to_s,
                'X-RateLimit-Reset' => v.reset.to_s }
      headers three
      return if v.allowed

      three['Retry-After'] = v.retry_after.to_s unless fault?('no-retry-after')
      refuse!(429, 'RATE_LIMIT_EXCEEDED', 'Too many requests; wait for the next window.',
              { 'tier' => me.tier, 'limit' => v.limit, 'retryAfter' => v.retry_after }, three)
    end

    def unlimited(route)
      return unless D[:unlimited_headers]

      v = LIMITER.hit([me.id, route], 1_000_000_000)
      headers 'X-RateLimit-Limit' => v.limit.to_s, 'X-RateLimit-Remaining' => v.remaining.to_s,
              'X-RateLimit-Reset' => v.reset.to_s
    end

    # A name in the path of a run endpoint.
    def run_name!(name)
      refuse!(400, 'INVALID_SLUG', 'Lowercase letters, digits and hyphens only.') unless name.match?(SLUG)
    end

    # A slug in any other path.
    def slug!
      return if slug.match?(SLUG)

      status, code = D[:bad_slug]
      refuse!(status, code, status == 404 ? 'There is no such workflow.' : 'Lowercase letters, digits and hyphens only.')
    end

    # ---- resources

    def no_workflow! = refuse!(404, D[:unknown_workflow], 'There is no such workflow.')

    def foreign!(how)
      status, code = how
      status == 404 ? no_workflow! : refuse!(status, code, 'This workflow belongs to someone else.')
    end

    def readable!
      w = STORE.workflow(slug) || no_workflow!
      return w if w.owner.equal?(me) || (w.template && D[:template_readable])

      foreign!(D[:foreign_private])
    end

    def writable!
      w = STORE.workflow(slug) || no_workflow!
      return w if w.owner.equal?(me)

      foreign!(w.template ? D[:foreign_template] : D[:foreign_private])
    end

    def runnable!
      w = STORE.workflow(slug) || no_workflow!
      return w if w.owner.equal?(me) || (w.template && D[:template_runnable])

      no_workflow!
    end

    def model!(name)
      model = MODELS[name]
      refuse!(404, 'MODEL_NOT_FOUND', 'There is no such model.') if model.nil? || model.disabled
      tier!(model)
      refuse!(400, 'ASYNC_NOT_SUPPORTED', 'This model runs synchronously only.') if async? && !model.polled
      model
    end

    def tier!(model)
      return if me.admin? || (async? && fault?('async-skips-tier'))

      needed = model.needs_tier || 'business'
      return if me.rank >= TIERS[needed].rank

      context = D[:model_below_tier] == 'CAPABILITY_DENIED' ? { 'required' => 'model:run' } : {}
      refuse!(403, D[:model_below_tier], "This model needs the #{needed} tier.", context)
    end

    # ---- bodies and queries

    def parsed_body
      type = env['knouds.type'].to_s.split(';').first.to_s.strip.downcase
      if D[:check_content_type] && !type.empty? && !type.match?(%r{\Aapplication/(?:[\w.-]+\+)?json\z})
        refuse!(415, 'UNSUPPORTED_MEDIA_TYPE', 'Send application/json.')
      end
      raw = env['knouds.body'].dup.force_encoding(Encoding::UTF_8)
      raise JSON::ParserError unless raw.valid_encoding?
      return nil if raw.strip.empty?
      raise JSON::ParserError if raw.gsub(/"(?:[^"\\]|\\.)*"/m, '').include?('/') # comments

      sound(JSON.parse(raw))
    rescue JSON::ParserError
      refuse!(400, 'INVALID_BODY', 'The body is no JSON.')
    end

    # Refuses what JSON.parse lets through, but no reply could spell.
    def sound(value)
      case value
      when Hash then value.each { |pair| pair.each { |v| sound(v) } }
      when Array then value.each { |v| sound(v) }
      when Float then raise JSON::ParserError unless value.finite?
      when String then raise JSON::ParserError unless value.valid_encoding?
      end
      value
    end

    def object_body(code = 'INVALID_BODY')
      value = parsed_body
      refuse!(400, code, 'The body must be a JSON object.') unless value.is_a?(Hash)
      value
    end

    def run_inputs
      inputs = object_body(D[:body_no_object])['inputs']
      inputs = {} if inputs == [] && fault?('inputs-array-accepted')
      refuse!(400, 'INVALID_INPUTS', 'inputs must be an object.') unless inputs.is_a?(Hash)
      inputs
    end

    def query
      @query ||= URI.decode_www_form(env['knouds.query'].gsub(/%(?!\h\h)/, '%25')).each_with_object({}) { |(k, v), h| h[k] ||= v.scrub }
    rescue ArgumentError
      @query = {}
    end

    def async? = query['async'] == 'true'

    # A whole number of the query; garbled ones are refused, or as if left out.
    def whole(name, default, min)
      text = query[name]
      return default if text.nil?
      return text.to_i if text.match?(/\A\d{1,12}\z/) && text.to_i >= min

      garbled!(name)
      default
    end

    def garbled!(name)
      refuse!(400, 'INVALID_QUERY', "The parameter #{name} makes no sense.") if D[:garbled_query] == :refuse
    end

    # ---- running

    def submit(run, slow, outcome)
      STORE.schedule(run, slow, &outcome)
      hook = @key.hook
      delivery = { 'configured' => !hook.nil? }
      delivery['url'] = hook.url if hook && D[:delivery_url]
      answer = { '_async' => true, 'executionId' => run.execution_id, 'requestId' => run.request_id,
                 'status' => 'processing', 'webhookDelivery' => delivery,
                 'pollUrl' => "/api/executions/#{run.execution_id}" }
      answer['workflowSlug'] = run.slug if run.slug
      reply(answer, D[:submit_status])
    end

    def run_now(run, outcome, with_ms)
      sleep rand(0.005..0.03)
      result, error = outcome.call
      if error
        STORE.finish(run, 'failed', error:)
        refuse!(500, error['code'], error['message'])
      end
      STORE.finish(run, 'completed', result:)
      cost = fault?('trial-cost-shown') && run.paid_by == :grant ? run.price : run.credits_cost
      answer = { 'success' => true, 'result' => result, 'cost' => Spell.credits(cost) }
      answer['ms'] = Spell.ms(Process.clock_gettime(Process::CLOCK_MONOTONIC) - run.started) if with_ms
      reply(answer)
    end

    def provider_failure = { 'code' => 'EXECUTION_FAILED', 'message' => 'The provider failed.' }

    def written(workflow, code = 200)
      return reply(workflow.document, code) if D[:write_bodies] == :document

      reply({ 'success' => true, 'slug' => workflow.slug }, code)
    end
  end

  # ---- open to all

  get '/api/health' do
    reply(OTHER ? { 'ok' => true, 'time' => Spell.time(Time.now) } : { 'status' => 'ok' })
  end

  get '/api/pricing/public' do
    list = TIERS.values.map do |t|
      { 'id' => t.id, 'monthlyCredits' => t.monthly_credits, 'apiAccess' => t.api,
        'rateLimit' => t.api ? t.rate_limit : nil }
    end
    reply('tiers' => OTHER ? list.to_h { |t| [t['id'], t.except('id')] } : list)
  end

  get '/api/workflows/:slug/public-schema' do
    slug!
    w = STORE.workflow(slug)
    no_workflow! unless w&.public?
    reply(w.schema(fault?('public-schema-cost')))
  end

  # ---- who am I

  get '/api/whoami' do
    enter('GET /api/whoami')
    reply('user' => { 'id' => me.id, 'email' => me.email, 'role' => me.role, 'tier' => me.tier,
                      'approved' => me.approved })
  end

  # ---- workflows

  get '/api/workflows' do
    enter('GET /api/workflows', cap: -> { need!('workflow:read') })
    reply(STORE.visible(me).map(&:summary))
  end

  post '/api/workflows' do
    doc = nil
    enter('POST /api/workflows', cap: -> { need!('workflow:write') },
                                 body: -> { doc = Document.clean(object_body, create: true) })
    w = STORE.create_workflow(me, doc)
    headers 'Location' => "/api/workflows/#{w.slug}" if D[:create_status] == 201
    written(w, D[:create_status])
  end

  get '/api/workflows/:slug' do
    w = nil
    enter('GET /api/workflows/:slug', cap: -> { need!('workflow:read') }, slug: -> { slug! },
                                      resource: -> { w = readable! })
    reply(w.document)
  end

  get '/api/workflows/:slug/schema' do
    w = nil
    enter('GET /api/workflows/:slug/schema', cap: -> { need!('workflow:read') }, slug: -> { slug! },
                                             resource: -> { w = readable! })
    reply(w.schema(true))
  end

  put '/api/workflows/:slug' do
    w = changes = nil
    enter('PUT /api/workflows/:slug', cap: -> { need!('workflow:write') }, slug: -> { slug! },
                                      resource: -> { w = writable! },
                                      body: -> { changes = Document.clean(object_body, create: false) })
    written(STORE.update_workflow(w, changes))
  end

  put '/api/workflows/:slug/move' do
    w = folder = nil
    move = lambda do
      given = object_body
      unless given.key?('folderId') && Document.folder?(given['folderId'])
        Document.refuse('folderId must be text or null')
      end
      folder = given['folderId']
    end
    enter('PUT /api/workflows/:slug/move', cap: -> { need!('workflow:write') }, slug: -> { slug! },
                                           resource: -> { w = writable! }, body: move)
    written(STORE.update_workflow(w, 'folderId' => folder))
  end

  delete '/api/workflows/:slug' do
    w = nil
    enter('DELETE /api/workflows/:slug', cap: -> { need!('workflow:write') }, slug: -> { slug! },
                                         resource: -> { w = writable! })
    STORE.delete_workflow(w)
    reply(OTHER ? { 'deleted' => true } : { 'success' => true, 'slug' => w.slug })
  end

  # ---- runs

  post '/api/workflows/:slug/run' do
    w = inputs = nil
    enter('POST /api/workflows/:slug/run', limited: true,
                                           cap: -> { need!('workflow:run', "workflow:#{slug}:run") },
                                           slug: -> { run_name!(slug) }, resource: -> { w = runnable! },
                                           body: -> { inputs = run_inputs })
    fails = w.fails?
    outcome = -> { fails ? [nil, provider_failure] : [w.run(inputs), nil] }
    run = STORE.open_run(account: me, key: @key, price: w.estimate || 0, slug: w.slug, model_ids: w.model_ids,
                         source: 'api-workflow', async: async?)
    async? ? submit(run, rand(w.seconds), outcome) : run_now(run, outcome, true)
  end

  post '/api/models/:internal_name/run' do
    name = params['internal_name']
    model = inputs = nil
    enter('POST /api/models/:internalName/run', limited: true,
                                                cap: -> { need!('model:run', "model:#{name}:run") },
                                                slug: -> { run_name!(name) }, resource: -> { model = model!(name) },
                                                body: -> { inputs = run_inputs })
    price = model.cost(inputs) || refuse!(400, 'INVALID_INPUTS', 'numImages or duration is out of range.')
    outcome = -> { model.fails ? [nil, provider_failure] : [model.output(inputs), nil] }
    run = STORE.open_run(account: me, key: @key, price:, slug: nil, model_ids: [model.name], source: 'api-slim',
                         async: async?)
    async? ? submit(run, rand(model.seconds), outcome) : run_now(run, outcome, D[:model_ms])
  end

  # ---- executions

  get '/api/executions/:id' do
    run = nil
    enter('GET /api/executions/:id', cap: -> { need!('execution:read') },
                                     resource: -> { run = STORE.execution(me, params['id']) || no_execution! })
    reply(STORE.sync { run.poll })
  end

  post '/api/executions/:id/cancel' do
    run = nil
    enter('POST /api/executions/:id/cancel', cap: -> { need!('execution:cancel') },
                                             resource: -> { run = STORE.own_execution(me, params['id']) || no_execution! })
    in_flight = STORE.cancel(run)
    if !in_flight && D[:cancel_ended] == 409
      refuse!(409, 'EXECUTION_ENDED', 'This execution has ended already.')
    end
    reply({ 'executionId' => run.execution_id, 'status' => run.status }, in_flight ? D[:cancel_status] : 200)
  end

  helpers do
    def no_execution! = refuse!(404, D[:unknown_execution], 'There is no such execution.')
  end

  # ---- usage

  get '/api/usage' do
    limit = offset = status = nil
    enter('GET /api/usage', body: lambda {
      limit = whole('limit', 50, 1)
      offset = whole('offset', 0, 0)
      status = status_filter
    })
    if limit > 500
      refuse!(400, 'INVALID_QUERY', 'limit may be 500 at most.') if D[:over_limit] == :refuse
      limit = 500
    end
    slug, model = query.values_at('workflowSlug', 'modelId').map { |v| v.to_s.empty? ? nil : v }
    reply(STORE.sync do
      rows, total = STORE.rows(me, status:, model:, slug:)
      page = rows[offset, limit] || []
      page = page[0...-1] if fault?('usage-last-row-lost') && offset.positive? && offset + limit == rows.size
      { 'rows' => page.map(&:row), 'page' => (offset / limit) + D[:first_page], 'pageSize' => limit, 'total' => total }
    end)
  end

  get '/api/usage/models' do
    enter('GET /api/usage/models')
    ids = STORE.used_models(me)
    reply(D[:models_shape] == :array ? ids : { 'models' => ids })
  end

  helpers do
    def status_filter
      given = query['status']
      return nil if given.nil? || given.empty?

      known = %w[processing completed failed]
      known += %w[cancelled] if D[:cancelled_filters]
      return given if known.include?(given)

      garbled!('status')
      nil
    end
  end
end

# ----------------------------------------------------------------------------------------------- banner

module Banner
  module_function

  def text(port)
    JSON.generate('base_url' => "http://127.0.0.1:#{port}", 'keys' => keys, 'workflows' => workflows, 'models' => models)
  end

  def keys
    STORE.keys.transform_values do |k|
      { 'secret' => k.secret, 'capabilities' => k.capabilities, 'user' => k.account.name, 'tier' => k.account.tier,
        'state' => k.state, 'role' => k.account.role, 'webhook' => !k.hook.nil?, 'webhook_secret' => k.hook&.secret }
    end
  end

  def workflows
    STORE.workflows.transform_values do |w|
      { 'owner' => w.owner.name, 'public' => w.public?, 'template' => w.template, 'async' => w.slow,
        'cost_credits' => w.estimate || 0, 'inputs' => { 'prompt' => 'a blue kite', 'strength' => 40 },
        'fails' => w.fails? }
    end
  end

  def models
    MODELS.transform_values do |m|
      b = { 'async' => m.polled, 'cost_credits' => m.cost(m.sample), 'inputs' => m.sample, 'disabled' => m.disabled,
            'fails' => m.fails }
      b['needs_tier'] = m.needs_tier if m.needs_tier
      b
    end
  end
end

# ------------------------------------------------------------------------------------------------ serve

# What Puma itself has to refuse (broken HTTP and the like) is JSON as well.
LOW_LEVEL = lambda do |error, _env = nil, status = 500|
  code = status == 500 ? 'INTERNAL_ERROR' : 'BAD_REQUEST'
  warn "#{error.class}: #{error.message}" if status == 500
  body = ApiError.new(status, code, 'The request could not be read.').body
  [status, { 'content-type' => D[:content_type] }, [body]]
end

server = Puma::Server.new(Api.new, nil, min_threads: 8, max_threads: 8, environment: 'production',
                                        log_writer: Puma::LogWriter.new($stderr, $stderr),
                                        lowlevel_error_handler: LOW_LEVEL, supported_http_methods: :any)
server.add_tcp_listener('127.0.0.1', OPTS[:port])
port = server.connected_ports.first
%w[INT TERM].each { |s| trap(s) { exit!(0) } }
thread = server.run
$stdout.puts Banner.text(port)
$stdout.flush
thread.join
