// Sorts the values of the first RANKED members (or of members and their children) in tiles, so that `rank_of` has only to
// search each tile. One workgroup a tile: Batcher's bitonic network in workgroup memory.

var<workgroup> tile_keys: array<u32, TILE>;
var<workgroup> tile_members: array<u32, TILE>;

@compute @workgroup_size(WORKGROUP)
fn sort_tiles(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = group.y * groups.x + group.x;
    if (tile >= TILES) {
        return;
    }
    let first = tile * TILE;
    for (var place = thread; place < TILE; place += WORKGROUP) {
        // What fills the last tile stands behind everyone.
        var key = 0xffffffffu;
        var member = 0xffffffffu;
        if (first + place < RANKED) {
            key = sortable(columns[first + place]);
            member = first + place;
        }
        tile_keys[place] = key;
        tile_members[place] = member;
    }
    workgroupBarrier();
    for (var run = 2u; run <= TILE; run *= 2u) {
        for (var apart = run / 2u; apart > 0u; apart /= 2u) {
            for (var pair = thread; pair < TILE / 2u; pair += WORKGROUP) {
                let low = 2u * pair - pair % apart;
                let high = low + apart;
                let keys = vec2<u32>(tile_keys[low], tile_keys[high]);
                let members = vec2<u32>(tile_members[low], tile_members[high]);
                let is_falling = stands_before(keys.y, members.y, keys.x, members.x);
                if (is_falling == ((low & run) == 0u)) {
                    tile_keys[low] = keys.y;
                    tile_keys[high] = keys.x;
                    tile_members[low] = members.y;
                    tile_members[high] = members.x;
                }
            }
            workgroupBarrier();
        }
    }
    for (var place = thread; place < TILE; place += WORKGROUP) {
        order[SORTED + first + place] = tile_keys[place];
        order[SORTED + TILES * TILE + first + place] = tile_members[place];
    }
}
