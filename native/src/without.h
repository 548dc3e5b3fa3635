/* What a build for a small chip leaves out: -DFDL_WITHOUT_NAME. Calls that need it return
 * FDL_E_ABSENT, or FDL_E_BATCH for a batch of more than one.
 *
 * Each name is 0 or 1, so that an `if` may ask for it as well as an #if. */
#ifndef FDL_WITHOUT_H
#define FDL_WITHOUT_H

#ifndef FDL_WITHOUT_CONV
#define FDL_WITHOUT_CONV 0
#endif
#ifndef FDL_WITHOUT_DEPTHWISE
#define FDL_WITHOUT_DEPTHWISE 0
#endif
#ifndef FDL_WITHOUT_POOLS
#define FDL_WITHOUT_POOLS 0
#endif
#ifndef FDL_WITHOUT_SIGMOID
#define FDL_WITHOUT_SIGMOID 0
#endif
#ifndef FDL_WITHOUT_VALUES /* the losses squared and reconstruction */
#define FDL_WITHOUT_VALUES 0
#endif
#ifndef FDL_WITHOUT_MOMENTUM
#define FDL_WITHOUT_MOMENTUM 0
#endif
#ifndef FDL_WITHOUT_CLIP
#define FDL_WITHOUT_CLIP 0
#endif
#ifndef FDL_WITHOUT_BATCH /* more than one example a step */
#define FDL_WITHOUT_BATCH 0
#endif

#ifndef FDL_WITHOUT_CODEC /* of updates; their values in one unit, too */
#define FDL_WITHOUT_CODEC 0
#endif
#ifndef FDL_WITHOUT_TRELLIS /* of its quantisers the one with the most work and memory */
#define FDL_WITHOUT_TRELLIS 0
#endif

/* Rows of an odd number of weights, or weights that begin at an odd multiple of two bytes. */
#ifndef FDL_WITHOUT_ODD_ROWS
#define FDL_WITHOUT_ODD_ROWS 0
#endif

/* Anything but dense layers. */
#define FDL_HAS_SHAPES (!FDL_WITHOUT_CONV || !FDL_WITHOUT_DEPTHWISE || !FDL_WITHOUT_POOLS)

/* Layers of more than one window, or what looks at a gradient before it is applied. */
#define FDL_HAS_GRADIENT                                                                           \
    (!FDL_WITHOUT_CONV || !FDL_WITHOUT_DEPTHWISE || !FDL_WITHOUT_BATCH || !FDL_WITHOUT_MOMENTUM || \
     !FDL_WITHOUT_CLIP)

#endif
