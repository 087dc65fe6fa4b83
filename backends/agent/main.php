<?php
// The door: reads the request, finds the verb, answers behind the marker. Protocol 1 is written down in client.py.

/** The one thing that is global: whose answer this process speaks. */
final class Context
{
    public static $marker = '';
}

function main(array $argv)
{
    umask(0077);
    ini_set('display_errors', 'stderr');
    set_time_limit(0);
    $verb = $argv[1] ?? '';
    if ($verb === 'work') {
        work(Operation::load((string) ($argv[2] ?? '')));
        return 0;
    }
    if ($verb === 'heart') {
        return answer_heart((string) ($argv[2] ?? ''), (string) ($argv[3] ?? ''), (string) ($argv[4] ?? ''));
    }
    // One line; what follows it is for the verb to read.
    $input = (string) fgets(STDIN, 16777216);
    if ($verb === 'config') {
        answer_config($input);
        return 0;
    }
    $fields = json_decode($input, true);
    if (!is_array($fields)) {
        fwrite(STDERR, "the request is not a JSON object\n");
        return 2;
    }
    try {
        $request = new Request($fields);
        Context::$marker = $request->marker;
        return answer($verb, $request);
    } catch (Failure $e) {
        $error = ['code' => $e->word, 'message' => $e->getMessage(), 'hint' => $e->hint];
    } catch (mysqli_sql_exception $e) {
        $error = ['code' => 'no_database', 'message' => 'the database refused: ' . $e->getMessage(), 'hint' => 'look at the database and its log'];
    } catch (Throwable $e) {
        $error = ['code' => 'internal', 'message' => short_error($e), 'hint' => 'report it'];
    }
    say(is_string($fields['marker'] ?? null) ? strtok($fields['marker'], "\n") : '', ['error' => $error]);
    return 1;
}

/** Answers, and returns the exit status; or what has to be done with WordPress loaded. */
function answer($verb, Request $request)
{
    $children = ['upgrade' => 'answer_upgrade', 'upgrade-database' => 'answer_upgrade_database', 'flush' => 'answer_flush', 'render' => 'answer_render'];
    if (isset($children[$verb])) {
        return $children[$verb]($request);
    }
    $launched = ['snapshot' => 'backup', 'restore' => 'restore', 'undo' => 'undo', 'update' => 'update', 'drill' => 'drill', 'verify' => 'verify',
        'isolate' => 'isolate', 'release' => 'release', 'runtime' => 'runtime', 'rehouse' => 'rehouse', 'probe' => 'probe'];
    if (isset($launched[$verb])) {
        if ($verb === 'snapshot' || $verb === 'update' || $verb === 'rehouse') {
            refuse_while_isolated($request);
        }
        if ($verb === 'rehouse' && given_credentials($request) === null) {
            throw new Failure('bad_request', 'no database to move to was named', 'name a new, empty database in [runtime.database]');
        }
        if ($verb === 'undo') {
            undoable($request);
        }
        if ($verb === 'verify') {
            Generation::find($request, $request->text('generation'));
        }
        if ($verb === 'restore' || $verb === 'drill' || $verb === 'runtime') {
            Generation::asked($request);
            only_of($request);
            given_credentials($request);
        }
        $reply = launch($request, $launched[$verb]);
    } else {
        $verbs = ['inspect' => 'answer_inspect', 'generations' => 'list_generations', 'operations' => 'answer_operations',
            'preview' => 'answer_preview', 'answer' => 'answer_answer', 'follow' => 'answer_follow',
            'send' => 'answer_send', 'receive' => 'answer_receive', 'lacking' => 'answer_lacking', 'adopt' => 'answer_adopt', 'cancel' => 'answer_cancel', 'recover' => 'answer_recover',
            'runtimes' => 'answer_runtimes', 'found' => 'answer_found', 'page' => 'answer_page', 'pages' => 'answer_pages', 'database' => 'answer_database', 'guard' => 'answer_guard', 'mark' => 'answer_mark', 'checksums' => 'answer_checksums', 'diff' => 'answer_diff', 'post' => 'answer_post', 'posts' => 'answer_posts'];
        if (!isset($verbs[$verb])) {
            throw new Failure('bad_request', 'the agent has no such verb', 'update Modoseru');
        }
        $reply = $verbs[$verb]($request);
    }
    if ($reply instanceof Boot || $verb === 'inspect') {
        return $reply;
    }
    say($request->marker, ['reply' => $reply]);
    return 0;
}

function answer_operations(Request $request)
{
    $alive = Lock::held($request);
    $records = [];
    foreach (array_slice(Operation::all($request), 0, 200) as $operation) {
        $records[] = $operation->as_record($alive);
        $alive = $alive && $operation->outcome !== null;
    }
    return ['operations' => $records];
}

/** The answer is a file, so that it counts whether or not the process that asked still lives. */
function answer_answer(Request $request)
{
    $operation = Operation::find($request, $request->text('operation'));
    $number = $request->whole('number');
    if ($operation->outcome !== null || !$operation->asked || $operation->asked['number'] !== $number) {
        return ['state' => $operation->outcome !== null ? 'finished' : 'running'];
    }
    write_durably("{$operation->folder}/answer-$number", json(['keep' => (bool) $request->get('keep'), 'detail' => $request->text('detail', '')]));
    if (!Lock::held($request)) {
        // The process that asked may have read the answer and ended meanwhile.
        $operation->refresh();
        if ($operation->outcome === null) {
            spawn_worker($operation);
        }
    }
    return ['state' => $operation->outcome !== null ? 'finished' : 'running'];
}

function answer_follow(Request $request)
{
    return follow(Operation::find($request, $request->text('operation')), $request->whole('from', 0));
}

function answer_cancel(Request $request)
{
    $operation = Operation::find($request, $request->text('operation'));
    if ($operation->outcome !== null) {
        return ['asked' => false];
    }
    write_durably($operation->folder . '/cancel', now_text());
    $held = Lock::held($request);
    $operation->refresh();
    if (!$held && $operation->outcome === null && !$operation->is_young()) {
        // Nobody is there to notice: a question that waits is answered, what a dead process left is recovered.
        if ($operation->asked) {
            write_durably("{$operation->folder}/answer-{$operation->asked['number']}", json(['keep' => false, 'detail' => 'cancelled by an operator']));
        }
        spawn_worker($operation);
    }
    return ['asked' => true];
}

function answer_recover(Request $request)
{
    $lock = is_dir($request->folder) ? Lock::take($request, 2.0) : null;
    if (!$lock) {
        return ['recovered' => []];
    }
    $recovered = [];
    foreach (Operation::unfinished($request) as $operation) {
        if ($operation->is_young()) {
            continue;
        }
        resume($operation);
        $now = Operation::load($operation->folder);
        if ($now->outcome !== null) {
            $recovered[] = ['operation' => $now->id, 'outcome' => $now->outcome];
        }
    }
    drop_left_tables($request);
    sweep_parts($request);
    fclose($lock);
    return ['recovered' => $recovered];
}

/** An operator's word on a generation: pinned or not, clean or suspect. It lies beside the sealed files, not in them. */
function answer_mark(Request $request)
{
    $generation = Generation::open($request, $request->text('generation'));
    $pinned = $request->get('pinned');
    if ($pinned === true) {
        write_durably($generation->folder . '/pinned', now_text());
    } elseif ($pinned === false) {
        @unlink($generation->folder . '/pinned');
    }
    $word = $request->get('word');
    if ($word !== null) {
        if (!in_array($word, ['clean', 'suspect'], true)) {
            throw new Failure('bad_request', 'a generation is marked clean or suspect', 'see modoseru generations --help');
        }
        write_durably($generation->folder . '/mark', $word);
    }
    return ['generation' => $generation->as_record(Damage::of($request))];
}

function answer_page(Request $request)
{
    $page = leave_page($request, $request->get('token'));
    if ($page === null) {
        throw new Failure('not_writable', "the document root {$request->root} cannot be written by this account", 'correct its owner');
    }
    return ['page' => $page];
}

$modoseru = main($argv);
if ($modoseru instanceof Boot) {
    $modoseru->prepare();
    try {
        require_once $modoseru->file;
        $modoseru_answer = ($modoseru->then)();
    } catch (Throwable $e) {
        $GLOBALS['modoseru_boot_error'] = ['message' => $e->getMessage(), 'file' => $e->getFile(), 'line' => $e->getLine()];
        $modoseru->finish();
        fwrite(STDERR, short_error($e) . "\n");
        exit(1);
    }
    $modoseru->finish();
    if ($modoseru_answer !== null) {
        say(Context::$marker, $modoseru_answer);
    }
    exit(0);
}
exit($modoseru);
