<?php
// Bytes of a generation on their way: `send` gives a piece of one, `receive` takes a piece into `incoming/`. Nothing here
// decides what becomes of them: until every hash of the summary was compared they are nobody's generation.

/** A piece is held in memory by whoever passes it on. */
const PIECE_MOST = 8388608;
/** Seconds after which a transfer that nobody came back for is let go. */
const INCOMING_S = 259200;
/** Seconds that a piece waits for the one in front of it. */
const TURN_S = 15;

/** The file that `what` names (`summary`, `manifest`, `dump` or a pack's id), in the folders of a generation. */
function part_file($what, $folder, $packs)
{
    $files = ['summary' => 'summary.json', 'manifest' => 'manifest', 'dump' => 'database.sql.gz'];
    if (isset($files[$what])) {
        return "$folder/{$files[$what]}";
    }
    if (!preg_match('/^\d{8}T\d{6}Z$/D', $what)) {
        throw new Failure('bad_request', 'a generation has no such part', 'summary, manifest, dump or the id of a pack');
    }
    return "$packs/$what.tar";
}

/** The piece behind a line that says how long it is; the reply that follows says what it has to hash to. */
function answer_send(Request $request)
{
    $folder = Generation::find($request, $request->text('generation'));
    $what = $request->text('what');
    $offset = $request->whole('offset', 0);
    $length = $request->whole('length', PIECE_MOST);
    $in = @fopen(part_file($what, $folder, $request->folder . '/packs'), 'rb');
    if (!$in) {
        throw new Failure('damaged', "the part $what of the generation cannot be read: " . last_error('unknown reason'), 'take another generation');
    }
    $size = fstat($in)['size'];
    if ($offset < 0 || $offset > $size || $length < 1 || $length > PIECE_MOST) {
        throw new Failure('bad_request', 'there is no such piece', 'a piece has at most ' . PIECE_MOST . ' bytes');
    }
    fseek($in, $offset);
    $piece = (string) stream_get_contents($in, $length);
    fclose($in);
    say($request->marker, ['piece' => ['length' => strlen($piece)]]);
    write_all(STDOUT, $piece, 'the answer');
    return ['size' => $size, 'sha256' => sha256($piece)];
}

/** Where a transfer lies; its name is made by the client and is the same when it comes back. */
function incoming_folder(Request $request)
{
    $transfer = $request->text('transfer');
    if (!preg_match('/^[0-9a-f]{16,64}$/D', $transfer)) {
        throw new Failure('bad_request', 'the name of a transfer is 16 to 64 hex digits', 'update Modoseru');
    }
    return $request->folder . '/incoming/' . $transfer;
}

/**
 * Takes what follows the request's line on stdin, at `offset`; without it only says how much is there. `size` is what the
 * part has when it is whole: what is longer is of something else and begins anew.
 */
function answer_receive(Request $request)
{
    $folder = incoming_folder($request);
    $size = $request->whole('size');
    $path = part_file($request->text('what'), $folder, "$folder/packs");
    make_folder("$folder/packs");
    $out = @fopen($path, 'c+b');
    if (!$out) {
        throw new Failure('no_state', "$path cannot be written: " . last_error('unknown reason'), 'look at the permissions and the quota');
    }
    $offset = $request->get('offset');
    wait_for_turn($out, is_int($offset) ? $offset : 0);
    @touch($folder);
    $there = fstat($out)['size'];
    if ($offset === null) {
        if ($there > $size) {
            ftruncate($out, $there = 0);
        }
        need_room($folder, $size - $there);
        return ['size' => $there];
    }
    $piece = (string) stream_get_contents(STDIN, PIECE_MOST + 1);
    if (!is_int($offset) || $offset < 0 || $offset > $there || strlen($piece) > PIECE_MOST || $offset + strlen($piece) > $size) {
        throw new Failure('bad_request', 'the piece does not fit what is there', 'ask how much is there');
    }
    if (sha256($piece) !== $request->text('sha256')) {
        throw new Failure('damaged', 'a piece changed on its way', 'try again');
    }
    // One whose answer was lost comes again, perhaps after later ones have arrived: those stay.
    if ($piece !== '' && $there >= $offset + strlen($piece)) {
        fseek($out, $offset);
        if (sha256((string) stream_get_contents($out, strlen($piece))) === $request->text('sha256')) {
            return ['size' => $there];
        }
    }
    // A piece that was cut is written again from where it began.
    ftruncate($out, $offset);
    fseek($out, $offset);
    write_all($out, $piece, $path);
    sync_handle($out, $path);
    fclose($out);
    return ['size' => $offset + strlen($piece)];
}

/**
 * Pieces may be sent before the one in front of them has arrived: each waits until it is its turn, and holds the file.
 * Where there are no locks two clients may bring one piece at once: the whole is compared before anybody uses it.
 */
function wait_for_turn($file, $offset)
{
    for ($until = microtime(true) + TURN_S; ; usleep(3000)) {
        $held = flock($file, LOCK_EX | LOCK_NB, $busy) || !$busy;
        if ($held && fstat($file)['size'] >= $offset) {
            return;
        }
        if (microtime(true) > $until) {
            throw new Failure($held ? 'bad_request' : 'busy', $held ? 'the piece does not fit what is there' : 'another client brings this part',
                $held ? 'ask how much is there' : 'try again in a moment');
        }
        $held && flock($file, LOCK_UN);
    }
}

/** Throws no_space where `$bytes` more below `$folder` would fill the disk. */
function need_room($folder, $bytes)
{
    $free = @disk_free_space($folder);
    if ($free !== false && $bytes + 16777216 > $free) {
        throw new Failure('no_space', sprintf('the transfer needs %s and %s is free', size_text($bytes), size_text($free)), 'free some space in the account');
    }
}

/** Transfers that nobody came back for, and the one that an operation is done with. */
function forget_incoming(Request $request, $transfer = null)
{
    foreach (@scandir($request->folder . '/incoming') ?: [] as $name) {
        $folder = $request->folder . "/incoming/$name";
        if ($name[0] !== '.' && ($name === $transfer || time() - (int) @filemtime($folder) > INCOMING_S)) {
            remove_tree($folder);
        }
    }
}
